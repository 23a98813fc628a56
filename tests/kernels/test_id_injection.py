"""ID injection behind its one entry point: every form, plain and folded, against float64 of the formulas."""

import math
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.kernels import id_attention as op
from fantasyid_engine.kernels.id_injection import (
    Folded,
    LayerAware,
    Missing,
    Sublayer,
    columns_of,
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
    pytest.param("shared", 2, 1, (1, 2, 3), 40, 2, 32, 42, id="shared"),
]


class Case(NamedTuple):
    """Weights as a checkpoint has them, tokens, what they lie without, and a face."""

    form: str
    x: Tensor
    missing: Tensor
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
        made = (part.double() for part in (self.x, self.missing, self.id_kv, self.queries, self.out))
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
        draw(7, D, dtype=torch.float32, device=device),
        drawn(1, 2, faces, heads, K, d),
        drawn(2, inner, D, scale=2 / math.sqrt(D)),
        drawn(3, D, inner, scale=1 / math.sqrt(inner)),
        (drawn(4, D), drawn(5, D)),
        drawn(6, D, 3, 3, scale=1 / 3),
        grid,
    )


def inject(x: Tensor, case: Case, face: Tensor | Folded) -> None:
    """As the DiT does it."""
    layer = case.ready()
    missing = Missing(case.missing, columns_of(case.missing[None], layer, face)[0])
    id_injection(x, missing, layer, face, case.grid, EPS)


def formula(case: Case) -> Tensor:
    """The sublayer as the module docstring writes it, in plain torch, onto x as it lies."""
    x, d = case.x, case.id_kv.shape[-1]
    whole = (x + case.missing).to(x.dtype)
    normed = F.layer_norm(whole, x.shape[-1:], *case.norm, EPS) if case.form == "released" else whole
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


def test_a_grid_of_the_released_models_size(device):
    """Once, as an interpreter takes a while over 30 x 45 tokens."""
    case = make("layer_aware", 1, 1, (1, 30, 45), 16, 1, 16, 16, torch.float32, device)
    inject(x := case.x.clone(), case, case.id_kv)
    no_worse_than_torch("x", x, formula(case), formula(case.double()))


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


@pytest.mark.parametrize(
    ("dtype", "D", "folds"),
    [
        # Wider or folded, the product's sums of large terms would cost float32 its own last digits, norm or no norm.
        pytest.param(torch.float32, 64, False, id="float32"),
        pytest.param(torch.float16, 64, True, id="float16-folded"),
        pytest.param(torch.float16, 200, False, id="float16-wide"),
        pytest.param(torch.bfloat16, 200, True, id="bfloat16-wide-folded", marks=pytest.mark.gpu),
    ],
)
def test_a_large_mean_cancels(dtype, D, folds, device):
    """What all channels share must drown neither the rest of a row nor its deviation."""
    case = make("released", 2, 1, (1, 1, 8), D, 1, 16, 5, dtype, device)
    case = case._replace(x=case.x + 30)
    exact, plain = formula(case.double()), formula(case)
    inject(x := case.x.clone(), case, fold(case.ready(), case.id_kv) if folds else case.id_kv)
    no_worse_than_torch("x", x, plain, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_rows_whose_beginning_is_unlike_the_rest(dtype, device):
    """The deviation is summed from the mean over a row's first channels, which may be far from that of the row."""
    case = make("released", 1, 1, (1, 1, 8), 256, 1, 16, 5, dtype, device)
    x = case.x.clone()
    x[..., :64] += 20
    x[:, ::2, 100] = 300
    case = case._replace(x=x)
    exact, plain = formula(case.double()), formula(case)
    inject(x := case.x.clone(), case, case.id_kv)
    no_worse_than_torch("x", x, plain, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_missing_may_be_larger_than_the_tokens(dtype, device):
    """Tokens lie without the biases that belong to them; those may be most of them."""
    case = make("released", 2, 1, (1, 1, 8), 96, 1, 16, 5, dtype, device)
    case = case._replace(missing=20 * case.missing)
    exact, plain = formula(case.double()), formula(case)
    for face in (case.id_kv, fold(case.ready(), case.id_kv)):
        inject(x := case.x.clone(), case, face)
        no_worse_than_torch(type(face).__name__, x, plain, exact)


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
    columns, logits = (columns_of(case.missing[None], layer, face)[0] for face in (case.id_kv, folded))
    start, end = (case.x, case.missing), (case.id_kv, 2, 5, EPS)
    norm = (layer.norm.sums[None], layer.norm.offsets[None])
    torch.library.opcheck(op.id_attention, (*start, layer.queries[None], columns, *norm, *end))
    torch.library.opcheck(op.id_attention, (*start, layer.queries[None], columns, None, None, *end))
    rest = (folded.logits, logits, folded.sums, folded.offsets, None, 2, folded.keys, EPS)
    torch.library.opcheck(op.id_attention, (*start, *rest))


def test_what_does_not_fit_is_named(device):
    case = make("released", 2, 1, (1, 1, 3), 32, 2, 16, 5, torch.float32, device)
    weight, vector = case.queries[None], torch.zeros(1, 32, device=device)

    def ask(weight: Tensor, moved: Tensor, sums: Tensor | None, id_kv: Tensor | None, keys: int) -> None:
        op.id_attention(case.x, case.missing, weight, moved, sums, None, id_kv, 2, keys, EPS)

    with pytest.raises(ValueError, match="sums and offsets go together"):
        ask(weight, vector, vector, case.id_kv, 5)
    with pytest.raises(ValueError, match=r"expected \(1, 32\) float32"):
        ask(weight, vector[:, :31], None, case.id_kv, 5)
    with pytest.raises(ValueError, match=r"id_kv \(2, 1, 2, 5, 16\), 6 keys"):
        ask(weight, vector, None, case.id_kv, 6)
    with pytest.raises(ValueError, match=r"weight \(1, 32, 31\)"):
        ask(weight[..., :31], vector, None, case.id_kv, 5)
    with pytest.raises(ValueError, match="17 keys in 16 columns"):
        ask(weight, vector, None, None, 17)
    with pytest.raises(ValueError, match="5 keys in 136 columns, of 128 at most"):
        ask(torch.zeros(1, 272, 32, device=device), torch.zeros(1, 272, device=device), None, None, 5)
