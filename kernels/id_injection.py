"""ID injection, the whole sublayer behind one entry point, in place on the video tokens.

    released      x + W_o Attn(LN(x) W_q, K, V)
    layer_aware   x + LN(depthwise(W_1 Attn(x W_q, K, V)))        F_l: 1x1 projection, depthwise 3x3, LayerNorm
    shared        x + W_shared Attn(x W_q, K, V)

`Sublayer` holds one layer's weights of any form, ready for the kernels. A face comes as keys and values, or folded into
the weights (`fold`), which pays where K < d (kernels/README.md):

    out = sum_h softmax(LN(x) K'_h^T) V'_h        K'_h = K_h W_q[h] / sqrt d,  V'_h = V_h W_o[:, h]^T

B batch, N video tokens, D width, K identity tokens, d channels a head, C columns of a head.
Source: FantasyID paper, section 3.5; docs/decisions/0016-kernels.md says why in so many launches.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.dispatch import wants_triton

MOST_FOLDED = 128
"""Columns of a folded head: one tile of logits."""
ALIGN = 8
"""Columns of a folded head are a multiple of this: 16 bytes, which is what a load or store moves at once."""


class Norm(NamedTuple):
    """A LayerNorm in front of a projection, moved behind it: z = rstd (x W^T - mean sums) + offsets.

    `sums` and `offsets` are [heads * C] float32; the gain is in W.
    """

    sums: Tensor
    offsets: Tensor


class Missing(NamedTuple):
    """What the video tokens lie without: a vector [D], and what a sublayer's queries or logits lose by that.

    Both are float32: `channels` [D], `columns` [1 or B, heads * C], which `columns_of` gives.
    """

    channels: Tensor
    columns: Tensor


class LayerAware(NamedTuple):
    """What follows the 1x1 projection in F_l: taps [D, 3, 3], then a LayerNorm's weight and bias [D]."""

    taps: Tensor
    weight: Tensor
    bias: Tensor
    eps: float


class Sublayer(NamedTuple):
    """One layer's weights: queries [heads * d, D], out [D, heads * d]; what a form has not is None."""

    heads: int
    queries: Tensor
    norm: Norm | None
    out: Tensor
    layer_aware: LayerAware | None


class Folded(NamedTuple):
    """A face folded into a sublayer's weights.

    logits [1 or B, heads * C, D], sums and offsets [1 or B, heads * C] float32 (None without a LayerNorm), out
    [1 or B, heads * C, D]; C is K rounded up, and what is behind K is 0.
    """

    keys: int
    logits: Tensor
    sums: Tensor | None
    offsets: Tensor | None
    out: Tensor


def sublayer(
    heads: int,
    queries: Tensor,
    out: Tensor,
    norm: tuple[Tensor, Tensor] | None = None,
    layer_aware: LayerAware | None = None,
) -> Sublayer:
    """Weights as a checkpoint has them -> as the kernels want them.

    Args:
        heads: number of heads.
        queries: W_q [heads * d, D].
        out: W_o, or the 1x1 projection of F_l [D, heads * d].
        norm: weight and bias [D] of the LayerNorm in front of the queries, where there is one.
        layer_aware: the rest of F_l, where there is one.
    """
    if norm is None:
        return Sublayer(heads, queries, None, out, layer_aware)
    gain, bias = norm
    offsets = queries.float() @ bias.float()
    queries = (queries.float() * gain.float()).to(queries.dtype)
    return Sublayer(heads, queries, Norm(queries.float().sum(1), offsets), out, layer_aware)


def pays_to_fold(heads: int, head_dim: int, dim: int, keys: int) -> bool:
    """Whether folding saves work a token: K < d, and the rounding of K to columns does not eat it up."""
    columns = _columns(keys)
    return can_fold(keys) and 2 * heads * columns * dim < 2 * heads * head_dim * dim + 2 * heads * head_dim * keys


def can_fold(keys: int) -> bool:
    """Whether a head's logits fit one tile."""
    return _columns(keys) <= MOST_FOLDED


def folded_bytes(heads: int, dim: int, keys: int, itemsize: int) -> int:
    """Memory that one face takes in one layer, folded."""
    return 2 * heads * _columns(keys) * dim * itemsize


def fold(layer: Sublayer, id_kv: Tensor) -> Folded:
    """A face [2, 1 or B, heads, K, d] into a layer's weights; products in float32, rounded once."""
    keys, values = id_kv.float().unbind(0)
    count, head_dim = keys.shape[-2:]
    keys = keys / math.sqrt(head_dim)
    queries = layer.queries.float().unflatten(0, (layer.heads, head_dim))
    out = layer.out.float().unflatten(1, (layer.heads, head_dim))
    logits = _padded(torch.einsum("bhkd,hdD->bhkD", keys, queries)).to(layer.queries.dtype)
    made = _padded(torch.einsum("bhkd,Dhd->bhkD", values, out)).to(layer.out.dtype)
    sums = offsets = None
    if layer.norm is not None:
        of_head = layer.norm.offsets.unflatten(0, (layer.heads, head_dim))
        offsets = _padded(torch.einsum("bhkd,hd->bhk", keys, of_head)[..., None])[..., 0].flatten(1)
        sums = logits.float().sum(-1)
    return Folded(count, logits, sums, offsets, made)


def columns_of(missing_SD: Tensor, layer: Sublayer, face: Tensor | Folded) -> Tensor:
    """Of vectors [S, D] float32, for a face as `id_injection` takes it -> [S, 1 or B, heads * C]."""
    weight = face.logits if isinstance(face, Folded) else layer.queries[None]
    return torch.einsum("sd,bcd->sbc", missing_SD, weight.to(missing_SD.dtype))


def id_injection(
    x_BND: Tensor,
    missing: Missing,
    layer: Sublayer,
    face: Tensor | Folded,
    grid: tuple[int, int, int],
    eps: float,
) -> None:
    """Adds what a face says to the video tokens x + missing onto x, in place.

    Args:
        x_BND: video tokens [B, N, D]; any strides of B and N.
        missing: what they lie without.
        layer: one layer's weights, in x's dtype.
        face: id_kv [2, 1 or B, heads, K, d], or what `fold` made of it for this layer.
        grid: N as (latent frames, rows, columns).
        eps: of the LayerNorm in front, where there is one.
    """
    attended = _attention(x_BND, missing, layer, face, eps)
    out = face.out if isinstance(face, Folded) else layer.out.T[None]
    if layer.layer_aware is None:
        x_BND.baddbmm_(attended, out.expand(len(x_BND), -1, -1))
        return
    m_BND = attended @ out
    rest = layer.layer_aware
    if wants_triton(x_BND, m_BND):
        from fantasyid_engine.kernels.layer_aware import layer_aware_

        layer_aware_(x_BND, m_BND, rest.taps, rest.weight, rest.bias, list(grid), rest.eps)
    else:
        x_BND.copy_(reference.layer_aware(x_BND, m_BND, rest.taps, rest.weight, rest.bias, grid, rest.eps))


def _attention(x_BND: Tensor, missing: Missing, layer: Sublayer, face: Tensor | Folded, eps: float) -> Tensor:
    if isinstance(face, Folded):
        weight, sums, offsets, id_kv, keys = face.logits, face.sums, face.offsets, None, face.keys
    else:
        weight, id_kv, keys = layer.queries[None], face, face.shape[3]
        sums, offsets = (None, None) if layer.norm is None else (layer.norm.sums[None], layer.norm.offsets[None])
    channels, columns = missing
    arguments = (channels, weight, columns, sums, offsets, id_kv, layer.heads, keys, eps)
    if not wants_triton(x_BND, weight):
        return reference.id_attention(x_BND, *arguments)
    from fantasyid_engine.kernels import id_attention as op

    return op.id_attention(x_BND, *arguments)


def _columns(keys: int) -> int:
    return -(-keys // ALIGN) * ALIGN


def _padded(x_BHKD: Tensor) -> Tensor:
    """[B, heads, K, D] -> [B, heads * C, D], zeros behind each head's K."""
    missing = _columns(x_BHKD.shape[2]) - x_BHKD.shape[2]
    return torch.nn.functional.pad(x_BHKD, (0, 0, 0, missing)).flatten(1, 2)
