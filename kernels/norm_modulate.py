"""adaLN of text and video tokens in one launch, with the gated residual add before it where there is one.

    norm_modulate                 y = LayerNorm(h) (1 + scale) + shift
    gate_residual                 h' = h + gate d, and mean and 1 / standard deviation of each row of it
    gate_residual_norm_modulate   both: h' and y of h', in one read of h and d and one write of each

One program a token: its row stays in registers between the two passes of the LayerNorm, all in float32.

B batch, T text then video tokens, D width; modulation [1 or B, 6, D]: see `reference`.
Source: CogVideoX (Yang et al. 2024), diffusers' `CogVideoXLayerNormZero`. Ground truth: `reference`.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major


@triton.jit
def _kernel(
    h_ptr,
    d_ptr,
    gates_ptr,
    weight_ptr,
    bias_ptr,
    modulation_ptr,
    sum_ptr,
    stats_ptr,
    y_ptr,
    tokens,
    length,
    dim,
    h_batch,
    h_token,
    d_batch,
    d_token,
    gates_batch,
    modulation_batch,
    eps,
    RESIDUAL: tl.constexpr,
    STATS: tl.constexpr,
    NORM: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    batch, token = row // tokens, row % tokens
    part = tl.where(token < length, 3, 0)
    cols = tl.arange(0, BLOCK)
    inside = cols < dim
    x = tl.load(h_ptr + batch * h_batch + token * h_token + cols, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        d = tl.load(d_ptr + batch * d_batch + token * d_token + cols, mask=inside, other=0.0).to(tl.float32)
        gate = tl.load(gates_ptr + batch * gates_batch + (part + 2) * dim + cols, mask=inside, other=0.0)
        x += gate.to(tl.float32) * d
        rounded = x.to(sum_ptr.dtype.element_ty)
        tl.store(sum_ptr + row * dim + cols, rounded, mask=inside)
        x = rounded.to(tl.float32)  # what follows is of the row as others will read it
    mean = tl.sum(x, 0) / dim
    centred = tl.where(inside, x - mean, 0.0)
    deviation = tl.sqrt(tl.sum(centred * centred, 0) / dim + eps)
    if STATS:
        tl.store(stats_ptr + row * 2, mean)
        tl.store(stats_ptr + row * 2 + 1, 1.0 / deviation)
    if NORM:
        normed = centred / deviation
        weight = tl.load(weight_ptr + cols, mask=inside, other=0.0).to(tl.float32)
        bias = tl.load(bias_ptr + cols, mask=inside, other=0.0).to(tl.float32)
        own = modulation_ptr + batch * modulation_batch + part * dim + cols
        shift = tl.load(own, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(own + dim, mask=inside, other=0.0).to(tl.float32)
        y = (normed * weight + bias) * (1.0 + scale) + shift
        tl.store(y_ptr + row * dim + cols, y.to(y_ptr.dtype.element_ty), mask=inside)


def _launch(
    h: Tensor,
    d: Tensor | None,
    gates: Tensor | None,
    norm: tuple[Tensor, Tensor, Tensor] | None,
    length: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """-> h', its statistics and y; each is an empty tensor where it is not made."""
    batch, tokens, dim = h.shape
    made = torch.empty(h.shape if d is not None else 0, dtype=h.dtype, device=h.device)
    only_sum = d is not None and norm is None
    stats = torch.empty((batch, tokens, 2) if only_sum else 0, dtype=torch.float32, device=h.device)
    y = torch.empty(h.shape if norm is not None else 0, dtype=h.dtype, device=h.device)
    h = row_major(h)
    other = h if d is None else row_major(d)
    gates = h if gates is None else gates.contiguous()
    weight, bias, modulation = (h, h, h) if norm is None else (part.contiguous() for part in norm)
    block = triton.next_power_of_2(dim)
    launch(
        _kernel,
        (batch * tokens,),
        *(h, other, gates, weight, bias, modulation, made, stats, y, tokens, length, dim),
        *(h.stride(0), h.stride(1), other.stride(0), other.stride(1)),
        *(_step(gates), _step(modulation), eps),
        RESIDUAL=d is not None,
        STATS=only_sum,
        NORM=norm is not None,
        BLOCK=block,
        num_warps=min(max(block // 512, 1), 8),
    )
    return made, stats, y


def _step(table: Tensor) -> int:
    """From one batch element to the next; 0 where one serves all."""
    return 0 if len(table) == 1 else table.stride(0)


def _check(name: str, h: Tensor, length: int, modulations: list[Tensor], vectors: list[Tensor]) -> None:
    batch, tokens, dim = h.shape
    fits(name, 0 <= length <= tokens, f"{length=} of {tokens} tokens")
    for modulation in modulations:
        right = modulation.shape[1:] == (6, dim) and len(modulation) in (1, batch)
        fits(name, right, f"modulation {tuple(modulation.shape)}, h {tuple(h.shape)}")
    for vector in vectors:
        fits(name, vector.shape == (dim,), f"norm's {tuple(vector.shape)}, h {tuple(h.shape)}")


@torch.library.custom_op("fantasyid::norm_modulate", mutates_args=())
def norm_modulate(h: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor, length: int, eps: float) -> Tensor:
    """Takes h [B, T, D], weight and bias [D], modulation [1 or B, 6, D] -> [B, T, D] in h's dtype."""
    _check("norm_modulate", h, length, [modulation], [weight, bias])
    return _launch(h, None, None, (weight, bias, modulation), length, eps)[2]


@torch.library.custom_op("fantasyid::gate_residual", mutates_args=())
def gate_residual(h: Tensor, d: Tensor, gates: Tensor, length: int, eps: float) -> tuple[Tensor, Tensor]:
    """Takes h and d [B, T, D], gates: a modulation [1 or B, 6, D] -> h' in h's dtype, statistics [B, T, 2] float32."""
    _check("gate_residual", h, length, [gates], [])
    fits("gate_residual", d.shape == h.shape, f"d {tuple(d.shape)}, h {tuple(h.shape)}")
    return _launch(h, d, gates, None, length, eps)[:2]


@torch.library.custom_op("fantasyid::gate_residual_norm_modulate", mutates_args=())
def gate_residual_norm_modulate(
    h: Tensor,
    d: Tensor,
    gates: Tensor,
    weight: Tensor,
    bias: Tensor,
    modulation: Tensor,
    length: int,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """`gate_residual` with `gates`, then `norm_modulate` with `modulation` -> both results."""
    _check("gate_residual_norm_modulate", h, length, [gates, modulation], [weight, bias])
    fits("gate_residual_norm_modulate", d.shape == h.shape, f"d {tuple(d.shape)}, h {tuple(h.shape)}")
    made, _, y = _launch(h, d, gates, (weight, bias, modulation), length, eps)
    return made, y


@norm_modulate.register_fake
def _(h: Tensor, *rest: object) -> Tensor:
    return h.new_empty(h.shape)


@gate_residual.register_fake
def _(h: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), h.new_empty((*h.shape[:2], 2), dtype=torch.float32)


@gate_residual_norm_modulate.register_fake
def _(h: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    return h.new_empty(h.shape), h.new_empty(h.shape)
