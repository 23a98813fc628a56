"""q and k of a fused QKV projection, ready for attention: LayerNorm per head, rotary on the video part.

    q'[b, t, h] = rotate(LayerNorm(q[b, t, h]), cos[t - L], sin[t - L])      text tokens, t < L, are not rotated

One program a token: its heads side by side, the pairs (2j, 2j + 1) of a channel as two tiles, float32 inside. Results
lie as [B, T, heads, d] in memory, which is what attention kernels read, and are views [B, heads, T, d] of that. v is
left where the projection wrote it: attention takes it as it lies.

B batch, T text then video tokens, L text tokens, d channels a head.
Source: CogVideoX (Yang et al. 2024), diffusers' `CogVideoXAttnProcessor2_0`. Ground truth: `reference.qk_norm_rope`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major


@triton.jit
def _turned(x_ptr, weight_ptr, bias_ptr, y_ptr, at, to, place, inside, channels, fits_channels, cos, sin, dim, eps):
    """One of q and k: reads its heads [H, P, 2] at `at`, writes them at `to`."""
    x = tl.load(x_ptr + at + place, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(tl.sum(x, 2), 1) / dim
    centred = tl.where(inside, x - mean[:, None, None], 0.0)
    variance = tl.sum(tl.sum(centred * centred, 2), 1) / dim
    normed = centred / tl.sqrt(variance + eps)[:, None, None]
    weight = tl.load(weight_ptr + channels, mask=fits_channels, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + channels, mask=fits_channels, other=0.0).to(tl.float32)
    normed = normed * weight[None] + bias[None]
    even, odd = tl.split(normed)
    turned = tl.join(-odd, even)
    tl.store(y_ptr + to + place, (normed * cos[None] + turned * sin[None]).to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _kernel(
    qkv_ptr,
    q_weight_ptr,
    q_bias_ptr,
    k_weight_ptr,
    k_bias_ptr,
    cos_ptr,
    sin_ptr,
    q_ptr,
    k_ptr,
    tokens,
    length,
    heads,
    dim,
    qkv_batch,
    qkv_token,
    eps,
    ROTARY: tl.constexpr,
    HEADS: tl.constexpr,
    PAIRS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // tokens, row % tokens
    head = tl.arange(0, HEADS)[:, None, None]
    channels = 2 * tl.arange(0, PAIRS)[:, None] + tl.arange(0, 2)[None, :]
    fits_channels = channels < dim
    inside = (head < heads) & fits_channels[None]
    place = head * dim + channels[None]
    cos = tl.full((PAIRS, 2), 1.0, tl.float32)
    sin = tl.zeros((PAIRS, 2), tl.float32)
    if ROTARY:
        turning = fits_channels & (token >= length)
        at = (token - length) * dim + channels
        cos = tl.load(cos_ptr + at, mask=turning, other=1.0)
        sin = tl.load(sin_ptr + at, mask=turning, other=0.0)
    width = heads * dim
    at = batch * qkv_batch + token * qkv_token
    _turned(
        qkv_ptr,
        q_weight_ptr,
        q_bias_ptr,
        q_ptr,
        at,
        row * width,
        place,
        inside,
        channels,
        fits_channels,
        cos,
        sin,
        dim,
        eps,
    )
    _turned(
        qkv_ptr,
        k_weight_ptr,
        k_bias_ptr,
        k_ptr,
        at + width,
        row * width,
        place,
        inside,
        channels,
        fits_channels,
        cos,
        sin,
        dim,
        eps,
    )


@torch.library.custom_op("fantasyid::qk_norm_rope", mutates_args=())
def qk_norm_rope(
    qkv: Tensor,
    heads: int,
    q_weight: Tensor,
    q_bias: Tensor,
    k_weight: Tensor,
    k_bias: Tensor,
    cos: Tensor | None,
    sin: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """Takes qkv [B, T, 3 heads d], norms' parameters [d], cos and sin [N, d] float32 -> q and k [B, heads, T, d]."""
    batch, tokens, width = qkv.shape
    dim = width // (3 * heads)
    fits("qk_norm_rope", width == 3 * heads * dim and dim % 2 == 0, f"{tuple(qkv.shape)} for {heads} heads, d even")
    vectors = (q_weight, q_bias, k_weight, k_bias)
    fits("qk_norm_rope", all(v.shape == (dim,) for v in vectors), f"norms of {[tuple(v.shape) for v in vectors]}")
    video = 0 if cos is None else len(cos)
    for table in (cos, sin):
        right = table is None or (table.shape == (video, dim) and table.dtype == torch.float32)
        fits("qk_norm_rope", right and (cos is None) == (sin is None) and video <= tokens, "cos or sin")
    q, k = (torch.empty((batch, tokens, heads, dim), dtype=qkv.dtype, device=qkv.device) for _ in range(2))
    qkv = row_major(qkv)
    cos_table, sin_table = (qkv if table is None else table.contiguous() for table in (cos, sin))
    pairs = triton.next_power_of_2(dim // 2)
    block = triton.next_power_of_2(heads) * pairs * 2
    launch(
        _kernel,
        (batch * tokens,),
        *(qkv, *(vector.contiguous() for vector in vectors), cos_table, sin_table, q, k),
        *(tokens, tokens - video, heads, dim, qkv.stride(0), qkv.stride(1), eps),
        ROTARY=cos is not None,
        HEADS=triton.next_power_of_2(heads),
        PAIRS=pairs,
        num_warps=min(max(block // 512, 1), 8),
    )
    return q.transpose(1, 2), k.transpose(1, 2)


@qk_norm_rope.register_fake
def _(qkv: Tensor, heads: int, *rest: object) -> tuple[Tensor, Tensor]:
    batch, tokens, width = qkv.shape
    q, k = (qkv.new_empty((batch, tokens, heads, width // (3 * heads))).transpose(1, 2) for _ in range(2))
    return q, k
