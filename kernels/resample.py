"""Weighted sums of a few vertices: between the levels of a mesh hierarchy, both ways.

    y[b, w, c] = sum_j value[w, j] x[b, index[w, j], c]

B batch, V / W vertices in / out, C channels; float32 accumulation. The backward pass is plain torch.
Source: SpiralNet++ (Gong et al. 2019). Ground truth: `reference.resample`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.launch import fits, launch, scattered


@triton.jit
def _kernel(
    x_ptr,
    index_ptr,
    value_ptr,
    y_ptr,
    sources,
    outs,
    channels,
    TERMS: tl.constexpr,
    BLOCK_W: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    batch = tl.program_id(2).to(tl.int64)
    w = tl.program_id(0).to(tl.int64) * BLOCK_W + tl.arange(0, BLOCK_W)
    c = tl.program_id(1).to(tl.int64) * BLOCK_C + tl.arange(0, BLOCK_C)
    w_inside = w < outs
    inside = w_inside[:, None] & (c < channels)[None, :]
    made = tl.zeros((BLOCK_W, BLOCK_C), tl.float32)
    for j in range(TERMS):
        source = tl.load(index_ptr + w * TERMS + j, mask=w_inside, other=0).to(tl.int64)
        value = tl.load(value_ptr + w * TERMS + j, mask=w_inside, other=0.0).to(tl.float32)
        x = tl.load(x_ptr + (batch * sources + source)[:, None] * channels + c[None, :], mask=inside, other=0.0)
        made += value[:, None] * x.to(tl.float32)
    at = y_ptr + (batch * outs + w)[:, None] * channels + c[None, :]
    tl.store(at, made.to(y_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("fantasyid::resample", mutates_args=())
def resample(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    """Takes x [B, V, C], index [W, J] integers, value [W, J] -> [B, W, C] in x's dtype."""
    (batch, sources, channels), (outs, terms) = x.shape, index.shape
    fits("resample", value.shape == index.shape, f"value {tuple(value.shape)}, index {tuple(index.shape)}")
    if x.dtype == torch.float64:  # gradcheck's, in which the kernel does not count
        return reference.resample(x, index, value)
    y = torch.empty((batch, outs, channels), dtype=x.dtype, device=x.device)
    block_c = min(128, triton.next_power_of_2(channels))
    launch(
        _kernel,
        (triton.cdiv(outs, 32), triton.cdiv(channels, block_c), batch),
        *(x.contiguous(), index.contiguous(), value.contiguous(), y, sources, outs, channels),
        TERMS=terms,
        BLOCK_W=32,
        BLOCK_C=block_c,
        num_warps=4,
    )
    return y


@resample.register_fake
def _(x: Tensor, index: Tensor, value: Tensor) -> Tensor:
    return x.new_empty((len(x), len(index), x.shape[2]))


def _keep(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    x, index, value = inputs
    ctx.save_for_backward(index, value)
    ctx.sources = x.shape[1]  # pyright: ignore[reportAttributeAccessIssue]


def _backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor | None, ...]:
    index, value = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
    spread = (grad[:, :, None] * value[..., None].to(grad.dtype)).flatten(1, 2)
    made = scattered(spread, index.flatten(), ctx.sources)  # pyright: ignore[reportAttributeAccessIssue]
    return made, None, None


resample.register_autograd(_backward, setup_context=_keep)
