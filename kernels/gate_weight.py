"""A linear layer's weights times a gate of each output: y[d, k] = gate[d] weight[d, k].

With them the product itself adds gate (x W^T) onto the residual stream (`ops.gated_linear_`).

D channels out, K channels in. Ground truth: `reference.gate_weight`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major

BLOCK = 1024


@triton.jit
def _kernel(weight_ptr, gate_ptr, y_ptr, channels, weight_row, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    cols = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = cols < channels
    gate = tl.load(gate_ptr + row).to(tl.float32)
    weight = tl.load(weight_ptr + row * weight_row + cols, mask=inside, other=0.0).to(tl.float32)
    tl.store(y_ptr + row * channels + cols, (gate * weight).to(y_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("fantasyid::gate_weight", mutates_args=())
def gate_weight(weight: Tensor, gate: Tensor) -> Tensor:
    """Takes weight [D, K], gate [D] -> [D, K] in weight's dtype."""
    outs, channels = weight.shape
    fits("gate_weight", gate.shape == (outs,), f"gate {tuple(gate.shape)}, weight {tuple(weight.shape)}")
    y = torch.empty((outs, channels), dtype=weight.dtype, device=weight.device)
    weight = row_major(weight)
    launch(
        _kernel,
        (outs, triton.cdiv(channels, BLOCK)),
        *(weight, gate.contiguous(), y, channels, weight.stride(0)),
        BLOCK=BLOCK,
        num_warps=4,
    )
    return y


@gate_weight.register_fake
def _(weight: Tensor, gate: Tensor) -> Tensor:
    return weight.new_empty(weight.shape)
