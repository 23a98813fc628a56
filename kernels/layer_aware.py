"""The rest of F_l after its 1x1 projection, onto the residual, in one pass: depthwise 3x3, LayerNorm, add.

    x[f, r, c] += LayerNorm(sum_{i, j} w[i, j] m[f, r + i - 1, c + j - 1])       zeros around each latent frame

A program walks `SEGMENT` tokens along a row with all D channels in registers: each column of three tokens is read once
and added to the three outputs it touches, so that of the nine neighbours three are read a token, mostly from the cache.
x is changed in place: each token is read and written by one program.

B batch, N video tokens = latent frames x rows x columns, D width. Source: FantasyID paper, section 3.5, eq. 2.
Ground truth: `reference.layer_aware`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major

SEGMENT = 16


@triton.jit
def _row(m_ptr, at, there, cols, inside):
    return tl.load(m_ptr + at + cols, mask=inside & there, other=0.0).to(tl.float32)


@triton.jit
def _tap(weight_ptr, place, cols, inside):
    return tl.load(weight_ptr + cols * 9 + place, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _kernel(
    x_ptr,
    m_ptr,
    taps_ptr,
    weight_ptr,
    bias_ptr,
    rows,
    columns,
    dim,
    segments,
    x_batch,
    x_token,
    m_batch,
    m_token,
    eps,
    SEGMENT: tl.constexpr,
    BLOCK: tl.constexpr,
):
    segment = tl.program_id(0) % segments
    line = tl.program_id(0) // segments
    row = line % rows
    batch = tl.program_id(1).to(tl.int64)
    cols = tl.arange(0, BLOCK)
    inside = cols < dim
    t00, t01, t02 = _tap(taps_ptr, 0, cols, inside), _tap(taps_ptr, 1, cols, inside), _tap(taps_ptr, 2, cols, inside)
    t10, t11, t12 = _tap(taps_ptr, 3, cols, inside), _tap(taps_ptr, 4, cols, inside), _tap(taps_ptr, 5, cols, inside)
    t20, t21, t22 = _tap(taps_ptr, 6, cols, inside), _tap(taps_ptr, 7, cols, inside), _tap(taps_ptr, 8, cols, inside)
    first = segment * SEGMENT
    before = tl.zeros((BLOCK,), tl.float32)
    here = tl.zeros((BLOCK,), tl.float32)
    for step in range(SEGMENT + 2):
        column = first + step - 1
        there = (column >= 0) & (column < columns)
        token = line.to(tl.int64) * columns + column
        at = batch * m_batch + token * m_token
        above = _row(m_ptr, at - columns * m_token, there & (row > 0), cols, inside)
        level = _row(m_ptr, at, there, cols, inside)
        below = _row(m_ptr, at + columns * m_token, there & (row < rows - 1), cols, inside)
        done = before + t02 * above + t12 * level + t22 * below
        before = here + t01 * above + t11 * level + t21 * below
        here = t00 * above + t10 * level + t20 * below

        made = (step >= 2) & (column - 1 < columns)
        centred = tl.where(inside, done - tl.sum(done, 0) / dim, 0.0)
        normed = centred / tl.sqrt(tl.sum(centred * centred, 0) / dim + eps)
        weight = tl.load(weight_ptr + cols, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + cols, mask=inside, other=0.0).to(tl.float32)
        own = x_ptr + batch * x_batch + (token - 1) * x_token + cols
        x = tl.load(own, mask=inside & made, other=0.0).to(tl.float32)
        tl.store(own, (x + normed * weight + bias).to(x_ptr.dtype.element_ty), mask=inside & made)


@torch.library.custom_op("fantasyid::layer_aware_", mutates_args=("x",))
def layer_aware_(x: Tensor, m: Tensor, taps: Tensor, weight: Tensor, bias: Tensor, grid: list[int], eps: float) -> None:
    """Changes x [B, N, D]; m [B, N, D], taps [D, 3, 3], weight and bias [D], grid (frames, rows, columns)."""
    batch, tokens, dim = x.shape
    frames, rows, columns = grid
    fits("layer_aware_", frames * rows * columns == tokens, f"{tokens} tokens on a grid of {tuple(grid)}")
    fits("layer_aware_", m.shape == x.shape and x.stride(-1) == 1, f"m {tuple(m.shape)}, x {tuple(x.shape)}")
    fits("layer_aware_", taps.shape == (dim, 3, 3), f"taps {tuple(taps.shape)}, x {tuple(x.shape)}")
    fits("layer_aware_", weight.shape == bias.shape == (dim,), f"norm's {tuple(weight.shape)}, x {tuple(x.shape)}")
    m, segments = row_major(m), triton.cdiv(columns, SEGMENT)
    block = triton.next_power_of_2(dim)
    launch(
        _kernel,
        (frames * rows * segments, batch),
        *(x, m, taps.contiguous(), weight.contiguous(), bias.contiguous()),
        *(rows, columns, dim, segments, x.stride(0), x.stride(1), m.stride(0), m.stride(1), eps),
        SEGMENT=SEGMENT,
        BLOCK=block,
        num_warps=min(max(block // 256, 1), 16),
    )


@layer_aware_.register_fake
def _(x: Tensor, *rest: object) -> None:
    return None
