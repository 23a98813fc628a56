"""ID injection behind its one entry point: every form, plain and folded, against float64 of the formulas."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.kernels import id_attention as op
from fantasyid_engine.kernels import ops, reference
from fantasyid_engine.kernels.id_injection import (
    Folded,
    LayerAware,
    Sublayer,
    fold,
    folded_bytes,
    id_injection,
    pays_to_fold,
    sublayer,
)
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch, spread

EPS = 1e-5
SHAPES = [  # form, B, batch of the face, grid, D, heads, d, K
    pytest.param("released", 1, 1, (1, 1, 1), 32, 1, 16, 1, id="one-token-one-key"),
    pytest.param("released", 2, 1, (1, 5, 7), 70, 3, 32, 79, id="79-keys"),
    pytest.param("released", 3, 3, (2, 3, 2), 48, 2, 24, 115, id="115-keys-ragged-head"),
    pytest.param("released", 1, 1, (1, 3, 50), 64, 2, 32, 128, id="128-keys-two-tiles"),
    pytest.param("released", 2, 2, (1, 1, 9), 64, 2, 32, 129, id="129-keys"),
    pytest.param("released", 1, 1, (1, 2, 2), 64, 1, 64, 512, id="512-keys"),
    pytest.param("layer_aware", 1, 1, (1, 1, 1), 32, 1, 16, 1, id="paper-one-token"),
    pytest.param("layer_aware", 2, 1, (2, 3, 5), 40, 2, 32, 42, id="paper-two-frames"),
    pytest.param("layer_aware", 2, 2, (1, 4, 33), 24, 1, 16, 314, id="paper-314-keys-three-segments"),
    pytest.param("layer_aware", 1, 1, (1, 30, 45), 16, 1, 16, 16, id="paper-30x45"),
    pytest.param("shared", 2, 1, (1, 2, 3), 40, 2, 32, 42, id="shared"),
]


class Case(NamedTuple):
    """Weights as a checkpoint has them, tokens and a face."""

    form: str
    x: Tensor
    id_kv: Tensor
    queries: Tensor
    out: Tensor
    norm: tuple[Tensor, Tensor]
    taps: Tensor
    grid: tuple[int, int, int]

    @property
    def heads(self) -> int:
        return self.id_kv.shape[2]

    def double(self) -> "Case":
        made = (part.double() for part in (self.x, self.id_kv, self.queries, self.out))
        norm = (self.norm[0].double(), self.norm[1].double())
        return Case(self.form, *made, norm, self.taps.double(), self.grid)

    def ready(self) -> Sublayer:
        """As the kernels want it."""
        norm = self.norm if self.form == "released" else None
        rest = LayerAware(self.taps, *self.norm, EPS) if self.form == "layer_aware" else None
        return sublayer(self.heads, self.queries, self.out, norm, rest)


def make(form: str, B: int, faces: int, grid, D: int, heads: int, d: int, K: int, dtype, device) -> Case:
    inner, tokens = heads * d, math.prod(grid)

    def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
        return draw(seed, *shape, dtype=dtype, device=device, scale=scale)

    return Case(
        form,
        drawn(0, B, tokens, D) + 2,
        drawn(1, 2, faces, heads, K, d),
        drawn(2, inner, D, scale=2 / math.sqrt(D)),
        drawn(3, D, inner, scale=1 / math.sqrt(inner)),
        (drawn(4, D), drawn(5, D)),
        drawn(6, D, 3, 3, scale=1 / 3),
        grid,
    )


def inject(x: Tensor, case: Case, face: Tensor | Folded) -> None:
    """As the DiT does it: the rows' statistics come from the pass before."""
    layer = case.ready()
    id_injection(x, None if layer.norm is None else reference.row_stats(x, EPS), layer, face, case.grid)


def formula(case: Case) -> Tensor:
    """The sublayer as the module docstring writes it, in plain torch."""
    x, d = case.x, case.id_kv.shape[-1]
    normed = F.layer_norm(x, x.shape[-1:], *case.norm, EPS) if case.form == "released" else x
    q = (normed @ case.queries.T).unflatten(-1, (case.heads, d)).transpose(1, 2)
    k, v = case.id_kv.expand(-1, len(x), -1, -1, -1)
    made = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) @ case.out.T
    if case.form == "layer_aware":
        frames, rows, columns = case.grid
        maps = made.unflatten(1, (frames, rows, columns)).flatten(0, 1).permute(0, 3, 1, 2)
        maps = F.conv2d(maps, case.taps[:, None], padding=1, groups=x.shape[-1])
        made = F.layer_norm(maps.permute(0, 2, 3, 1).reshape(x.shape), x.shape[-1:], *case.norm, EPS)
    return x + made


@pytest.mark.parametrize("kernels", ["triton", "torch"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("form", "B", "faces", "grid", "D", "heads", "d", "K"), SHAPES)
def test_matches_the_formula(form, B, faces, grid, D, heads, d, K, dtype, kernels, device, monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", kernels)
    case = make(form, B, faces, grid, D, heads, d, K, dtype, device)
    exact, plain = formula(case.double()), formula(case)
    ways = [case.id_kv, fold(case.ready(), case.id_kv)] if K <= 128 else [case.id_kv]
    for face in ways:
        for x in (case.x.clone(), spread(case.x)):
            inject(x, case, face)
            no_worse_than_torch(type(face).__name__, x, plain, exact)


@pytest.mark.parametrize("form", ["released", "layer_aware"])
def test_only_the_tokens_it_is_given_change(form, device):
    """Video tokens lie behind the text of the same tensor."""
    case = make(form, 2, 1, (1, 2, 3), 32, 2, 16, 5, torch.float32, device)
    joint = torch.full((2, 10, 32), 7.0, device=device)
    joint[:, 4:] = case.x
    inject(joint[:, 4:], case, case.id_kv)
    assert (joint[:, :4] == 7).all()
    torch.testing.assert_close(joint[:, 4:], formula(case), rtol=1e-4, atol=1e-4)


def test_a_face_of_batch_one_serves_the_whole_batch(device):
    case = make("released", 3, 1, (1, 2, 3), 32, 2, 16, 5, torch.float32, device)
    one, each = case.x.clone(), case.x.clone()
    inject(one, case, case.id_kv)
    inject(each, case, case.id_kv.expand(-1, 3, -1, -1, -1).contiguous())
    assert torch.equal(one, each)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_large_mean_cancels(dtype, device):
    """Tokens and statistics come from the residual add; what all channels share must not drown the rest."""
    case = make("released", 2, 1, (1, 1, 8), 64, 1, 16, 5, dtype, device)
    gates = torch.ones(1, 6, 64, dtype=dtype, device=device)
    x, stats = ops.gate_residual(30 * torch.ones_like(case.x), case.x, gates, 0, EPS)
    case = case._replace(x=x)
    exact, plain = formula(case.double()), formula(case)
    id_injection(x := x.clone(), stats, case.ready(), case.id_kv, case.grid)
    no_worse_than_torch("x", x, plain, exact)


@pytest.mark.parametrize(
    ("keys", "head_dim", "pays"),
    [(115, 128, True), (79, 128, True), (314, 128, False), (128, 128, True), (129, 128, False)],
)
def test_folding_pays_below_the_head_size(keys, head_dim, pays):
    assert pays_to_fold(16, head_dim, 3072, keys) == pays


def test_folded_memory_is_what_fold_makes(device):
    case = make("released", 1, 1, (1, 1, 2), 32, 2, 16, 13, torch.float16, device)
    made = fold(case.ready(), case.id_kv)
    assert folded_bytes(2, 32, 13, 2) == made.logits.nbytes + made.out.nbytes


def test_registration(device):
    case = make("released", 2, 1, (1, 1, 3), 32, 2, 16, 5, torch.float32, device)
    layer, folded = case.ready(), fold(case.ready(), case.id_kv)
    assert layer.norm is not None
    stats = reference.row_stats(case.x, EPS)
    plain = (case.x, stats, layer.queries[None], layer.norm.sums[None], layer.norm.offsets[None], case.id_kv, 2, 5)
    torch.library.opcheck(op.id_attention, plain)
    torch.library.opcheck(op.id_attention, (case.x, None, layer.queries[None], None, None, case.id_kv, 2, 5))
    torch.library.opcheck(
        op.id_attention, (case.x, stats, folded.logits, folded.sums, folded.offsets, None, 2, folded.keys)
    )


def test_what_does_not_fit_is_named(device):
    case = make("released", 2, 1, (1, 1, 3), 32, 2, 16, 5, torch.float32, device)
    weight = case.queries[None]
    with pytest.raises(ValueError, match="stats, sums and offsets go together"):
        op.id_attention(case.x, reference.row_stats(case.x, EPS), weight, None, None, case.id_kv, 2, 5)
    with pytest.raises(ValueError, match=r"id_kv \(2, 1, 2, 5, 16\), 6 keys"):
        op.id_attention(case.x, None, weight, None, None, case.id_kv, 2, 6)
    with pytest.raises(ValueError, match=r"weight \(1, 32, 31\)"):
        op.id_attention(case.x, None, weight[..., :31], None, None, case.id_kv, 2, 5)
    with pytest.raises(ValueError, match="17 keys in 16 columns"):
        op.id_attention(case.x, None, weight, None, None, None, 2, 17)
    with pytest.raises(ValueError, match="5 keys in 136 columns, of 128 at most"):
        op.id_attention(case.x, None, torch.zeros(1, 272, 32, device=device), None, None, None, 2, 5)
