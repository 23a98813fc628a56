"""adaLN of text and video tokens in one launch.

    y = LayerNorm(h) (1 + scale) + shift              text
    y = LayerNorm(h + missing) (1 + scale) + shift    video, which lies without `missing`

One program a token: its row stays in registers between the two passes of the LayerNorm, all in float32.

B batch, T text then video tokens, D width; modulation [1 or B, 6, D]: see `reference`.
Source: CogVideoX (Yang et al. 2024), diffusers' `CogVideoXLayerNormZero`. Ground truth: `reference.norm_modulate`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major


@triton.jit
def _kernel(
    h_ptr,
    missing_ptr,
    weight_ptr,
    bias_ptr,
    modulation_ptr,
    y_ptr,
    tokens,
    length,
    dim,
    h_batch,
    h_token,
    modulation_batch,
    eps,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // tokens, row % tokens
    part = tl.where(token < length, 3, 0)
    cols = tl.arange(0, BLOCK)
    inside = cols < dim
    x = tl.load(h_ptr + batch * h_batch + token * h_token + cols, mask=inside, other=0.0).to(tl.float32)
    x += tl.load(missing_ptr + cols, mask=inside & (token >= length), other=0.0)
    mean = tl.sum(x, 0) / dim
    centred = tl.where(inside, x - mean, 0.0)
    normed = centred / tl.sqrt(tl.sum(centred * centred, 0) / dim + eps)
    weight = tl.load(weight_ptr + cols, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + cols, mask=inside, other=0.0).to(tl.float32)
    own = modulation_ptr + batch * modulation_batch + part * dim + cols
    shift = tl.load(own, mask=inside, other=0.0).to(tl.float32)
    scale = tl.load(own + dim, mask=inside, other=0.0).to(tl.float32)
    y = (normed * weight + bias) * (1.0 + scale) + shift
    tl.store(y_ptr + row * dim + cols, y.to(y_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("fantasyid::norm_modulate", mutates_args=())
def norm_modulate(
    h: Tensor, missing: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor, length: int, eps: float
) -> Tensor:
    """Takes h [B, T, D], missing [D] float32, weight and bias [D], modulation [1 or B, 6, D] -> [B, T, D] as h."""
    batch, tokens, dim = h.shape
    fits("norm_modulate", 0 <= length <= tokens, f"{length=} of {tokens} tokens")
    right = modulation.shape[1:] == (6, dim) and len(modulation) in (1, batch)
    fits("norm_modulate", right, f"modulation {tuple(modulation.shape)}, h {tuple(h.shape)}")
    for vector in (missing, weight, bias):
        fits("norm_modulate", vector.shape == (dim,), f"a vector {tuple(vector.shape)}, h {tuple(h.shape)}")
    fits("norm_modulate", missing.dtype == torch.float32, f"missing is {missing.dtype}")
    y = torch.empty(h.shape, dtype=h.dtype, device=h.device)
    h, modulation = row_major(h), modulation.contiguous()
    block = triton.next_power_of_2(dim)
    launch(
        _kernel,
        (batch * tokens,),
        *(h, missing.contiguous(), weight.contiguous(), bias.contiguous(), modulation, y, tokens, length, dim),
        *(h.stride(0), h.stride(1), 0 if len(modulation) == 1 else modulation.stride(0), eps),
        BLOCK=block,
        num_warps=min(max(block // 512, 1), 8),
    )
    return y


@norm_modulate.register_fake
def _(h: Tensor, *rest: object) -> Tensor:
    return h.new_empty(h.shape)
