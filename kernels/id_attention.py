"""Video tokens to attention over a face's tokens in one launch: LayerNorm, projection, attention; also folded.

    z = x W^T + moved                                 of the tokens x + missing: moved = missing W^T
    z = rstd (x W^T + moved - mean sums) + offsets    with a LayerNorm, its gain in W: sums = W 1, offsets = W_q bias
    plain    out_h = softmax(z_h K_h^T / sqrt d) V_h  W = W_q gain
    folded   out_h = softmax(z_h)                     W_h = K_h W_q[h] gain / sqrt d: a row a key

A program takes `BLOCK_M` tokens of one head: the projection's loop over D leaves that head's queries (or logits) in
registers, where everything else happens. Mean and deviation come from the tiles that this loop reads, by sums of what
exceeds a row's mean over its first tile: a large mean then costs the deviation no digits. Up to 128 keys are one tile;
more are looped over with an online softmax. Logits and softmax are float32. `sums` are of the rounded weights, so that
a mean cancels exactly however large it is.

B batch, N video tokens, D width, K identity tokens, d channels a head; weights and id_kv of batch 1 serve all.
Source: FantasyID paper, section 3.5. Ground truth: `reference.id_attention`.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from fantasyid_engine.kernels.launch import fits, launch, row_major

ONE_TURN = 128
"""Up to so many keys are one tile."""
RUN = tl.constexpr(8)
"""Channels of a row that a thread reads at once."""
TURN = 64
"""Keys of one turn of the loop over more of them; at 128 an A100 would spill registers."""


@triton.jit
def _logits(q, k_at, start, keys, columns, cols, col_inside, scale, PRECISION: tl.constexpr, BLOCK_K: tl.constexpr):
    """Of q with the keys from `start` on; behind the last one -inf."""
    key = start + tl.arange(0, BLOCK_K)
    present = key < keys
    at = k_at + key[None, :] * columns + cols[:, None]
    k = tl.load(at, mask=present[None, :] & col_inside[:, None], other=0.0)
    return tl.where(present[None, :], tl.dot(q, k, input_precision=PRECISION) * scale, float("-inf"))


@triton.jit
def _values(v_at, start, keys, columns, cols, col_inside, BLOCK_K: tl.constexpr):
    key = start + tl.arange(0, BLOCK_K)
    at = v_at + key[:, None] * columns + cols[None, :]
    return tl.load(at, mask=(key < keys)[:, None] & col_inside[None, :], other=0.0)


@triton.jit
def _attention(
    x_ptr,
    missing_ptr,
    weight_ptr,
    moved_ptr,
    sums_ptr,
    offsets_ptr,
    keys_ptr,
    values_ptr,
    out_ptr,
    tokens,
    dim,
    keys,
    scale,
    eps,
    x_batch,
    x_token,
    weight_batch,
    columns_batch,
    kv_batch,
    kv_head,
    out_batch,
    out_token,
    heads,
    NORM: tl.constexpr,
    FOLDED: tl.constexpr,
    COLUMNS: tl.constexpr,
    ONE_TURN: tl.constexpr,
    RAGGED: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    batch = tl.program_id(1).to(tl.int64)
    tile, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    rows = tile.to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    row_inside = rows < tokens
    cols = tl.arange(0, BLOCK_C)
    col_inside = cols < COLUMNS

    x_at = x_ptr + batch * x_batch + rows[:, None] * x_token
    weight_at = weight_ptr + batch * weight_batch + (head * COLUMNS + cols).to(tl.int64)[None, :] * dim
    z = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
    base = tl.zeros((BLOCK_M,), tl.float32)
    total = tl.zeros((BLOCK_M, BLOCK_D // RUN), tl.float32)
    squares = tl.zeros((BLOCK_M, BLOCK_D // RUN), tl.float32)
    if NORM:
        first = tl.arange(0, BLOCK_D)
        there = first < dim
        x = tl.load(x_at + first[None, :], mask=row_inside[:, None] & there[None, :], other=0.0).to(tl.float32)
        x += tl.load(missing_ptr + first, mask=there, other=0.0)[None, :]
        base = tl.sum(x, 1) / tl.minimum(dim, BLOCK_D)
    for start in range(0, dim, BLOCK_D):
        along = start + tl.arange(0, BLOCK_D)
        a = tl.load(x_at + along[None, :], mask=row_inside[:, None] & (along[None, :] < dim), other=0.0)
        b = tl.load(weight_at + along[:, None], mask=(along[:, None] < dim) & col_inside[None, :], other=0.0)
        z = tl.dot(a, b, z, input_precision=PRECISION)
        if NORM:
            y = a.to(tl.float32) + tl.load(missing_ptr + along, mask=along < dim, other=0.0)[None, :] - base[:, None]
            if RAGGED:
                y = tl.where((along < dim)[None, :], y, 0.0)
            y = tl.reshape(y, (BLOCK_M, BLOCK_D // RUN, RUN))  # runs that one thread holds
            total += tl.sum(y, 2)
            squares += tl.sum(y * y, 2)
            # Always true, and no instruction in the end. It uses z inside the loop, so that the product is waited for
            # before its tile of x is filled anew: on sm_90 Triton 3.7 leaves one product in flight, but has no buffer
            # for that where a tile has a second reader. benchmarks/compile_report.py looks for it.
            z = tl.where(start < dim, z, 0.0)

    own = batch * columns_batch + head * COLUMNS + cols
    z += tl.load(moved_ptr + own, mask=col_inside, other=0.0)[None, :]
    if NORM:
        beyond = tl.sum(total, 1) / dim
        mean = base + beyond
        rstd = 1.0 / tl.sqrt(tl.maximum(tl.sum(squares, 1) / dim - beyond * beyond, 0.0) + eps)
        sums = tl.load(sums_ptr + own, mask=col_inside, other=0.0)
        offsets = tl.load(offsets_ptr + own, mask=col_inside, other=0.0)
        z = rstd[:, None] * (z - mean[:, None] * sums[None, :]) + offsets[None, :]

    inside = row_inside[:, None] & col_inside[None, :]
    out_at = out_ptr + batch * out_batch + rows[:, None] * out_token + head * COLUMNS + cols[None, :]
    if FOLDED:
        z = tl.where(cols[None, :] < keys, z, float("-inf"))
        z = tl.exp(z - tl.max(z, 1)[:, None])
        z = z / tl.sum(z, 1)[:, None]
    else:
        q = z.to(x_ptr.dtype.element_ty)
        own = batch * kv_batch + head * kv_head
        k_at, v_at = keys_ptr + own, values_ptr + own
        if ONE_TURN:
            z = _logits(q, k_at, 0, keys, COLUMNS, cols, col_inside, scale, PRECISION, BLOCK_K)
            z = tl.exp(z - tl.max(z, 1)[:, None])
            total = tl.sum(z, 1)
            v = _values(v_at, 0, keys, COLUMNS, cols, col_inside, BLOCK_K)
            z = tl.dot(z.to(v.dtype), v, input_precision=PRECISION)
        else:
            top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
            total = tl.zeros((BLOCK_M,), tl.float32)
            z = tl.zeros((BLOCK_M, BLOCK_C), tl.float32)
            for start in tl.range(0, keys, BLOCK_K, num_stages=1):
                logits = _logits(q, k_at, start, keys, COLUMNS, cols, col_inside, scale, PRECISION, BLOCK_K)
                higher = tl.maximum(top, tl.max(logits, 1))
                weights = tl.exp(logits - higher[:, None])
                kept = tl.exp(top - higher)
                total = total * kept + tl.sum(weights, 1)
                v = _values(v_at, start, keys, COLUMNS, cols, col_inside, BLOCK_K)
                z = tl.dot(weights.to(v.dtype), v, z * kept[:, None], input_precision=PRECISION)
                top = higher
        z = z / total[:, None]
    tl.store(out_at, z.to(out_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op("fantasyid::id_attention", mutates_args=())
def id_attention(
    x: Tensor,
    missing: Tensor,
    weight: Tensor,
    moved: Tensor,
    sums: Tensor | None,
    offsets: Tensor | None,
    id_kv: Tensor | None,
    heads: int,
    keys: int,
    eps: float,
) -> Tensor:
    """Attention of the video tokens x + missing to a face.

    Args:
        x: video tokens [B, N, D], any strides.
        missing: what they lie without [D] float32.
        weight: [1 or B, heads * C, D] in x's dtype; C is d, or at least `keys` where it is folded.
        moved: missing W^T [1 or B, heads * C] float32.
        sums: of the weight's rows, as `moved`; None for no LayerNorm.
        offsets: as `sums`, what is added.
        id_kv: [2, 1 or B, heads, K, d] in x's dtype; None where it is folded into `weight`.
        heads: number of heads.
        keys: K.
        eps: the LayerNorm's.

    Returns:
        [B, N, heads * d] in x's dtype; folded: the weights of all keys [B, N, heads * C], 0 behind each head's last.
    """
    columns = _check(x, missing, weight, (moved, sums, offsets), id_kv, heads, keys)
    (batch, tokens, dim), folded = x.shape, id_kv is None
    out = torch.empty((batch, tokens, heads * columns), dtype=x.dtype, device=x.device)
    x, weight, normed = row_major(x), weight.contiguous(), sums is not None
    k, v = (x, x) if id_kv is None else id_kv.contiguous().unbind(0)
    one, lone = len(weight) == 1, id_kv is None or id_kv.shape[1] == 1
    moved = moved.contiguous()
    sums, offsets = (moved if part is None else part.contiguous() for part in (sums, offsets))
    block_c = max(16, triton.next_power_of_2(columns))
    exact = x.element_size() == 4  # no tensor cores: for tests, not for speed
    block_m, block_d = (32, 16) if exact else (128, 64)
    launch(
        _attention,
        (triton.cdiv(tokens, block_m) * heads, batch),
        *(x, missing.contiguous(), weight, moved, sums, offsets, k, v, out, tokens, dim, keys),
        *(1.0 if folded else 1 / math.sqrt(columns), eps),
        *(x.stride(0), x.stride(1), 0 if one else weight.stride(0), 0 if one else heads * columns),
        *(0 if lone else k.stride(0), 0 if folded else k.stride(1)),
        *(out.stride(0), out.stride(1), heads),
        NORM=normed,
        FOLDED=folded,
        COLUMNS=columns,
        ONE_TURN=keys <= ONE_TURN,
        RAGGED=dim % block_d != 0,
        PRECISION="ieee" if exact else "tf32",
        BLOCK_M=block_m,
        BLOCK_C=block_c,
        BLOCK_D=block_d,
        BLOCK_K=max(16, triton.next_power_of_2(keys)) if keys <= ONE_TURN else TURN,
        num_warps=8,
        num_stages=3,
    )
    return out


def _check(
    x: Tensor,
    missing: Tensor,
    weight: Tensor,
    vectors: tuple[Tensor | None, ...],
    id_kv: Tensor | None,
    heads: int,
    keys: int,
) -> int:
    """-> columns a head."""
    batch, _, dim = x.shape
    columns = weight.shape[1] // heads
    right = weight.shape[1:] == (heads * columns, dim) and len(weight) in (1, batch) and weight.dtype == x.dtype
    fits("id_attention", right, f"weight {tuple(weight.shape)} for {heads} heads, x {tuple(x.shape)}")
    fits("id_attention", (vectors[1] is None) == (vectors[2] is None), "sums and offsets go together")
    for part, shape in ((missing, (dim,)), *((vector, weight.shape[:2]) for vector in vectors)):
        right = part is None or (part.shape == shape and part.dtype == torch.float32)
        fits("id_attention", right, f"missing, moved, sums or offsets; expected {tuple(shape)} float32")
    if id_kv is None:
        fits(
            "id_attention", 1 <= keys <= columns <= ONE_TURN, f"{keys} keys in {columns} columns, of {ONE_TURN} at most"
        )
    else:
        right = id_kv.shape in ((2, 1, heads, keys, columns), (2, batch, heads, keys, columns))
        fits("id_attention", right and id_kv.dtype == x.dtype and keys >= 1, f"id_kv {tuple(id_kv.shape)}, {keys} keys")
    return columns


@id_attention.register_fake
def _(x: Tensor, missing: Tensor, weight: Tensor, *rest: object) -> Tensor:
    return x.new_empty((*x.shape[:2], weight.shape[1]))
