"""adaLN of text and video in one launch, with and without the gated residual before it."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import norm_modulate as op
from fantasyid_engine.kernels import reference
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch, spread

EPS = 1e-5
SHAPES = [  # B, T, L, D, batch of the modulation
    pytest.param(1, 5, 2, 64, 1, id="one-each"),
    pytest.param(2, 7, 3, 70, 2, id="ragged-width"),
    pytest.param(3, 4, 0, 192, 1, id="no-text-one-modulation"),
    pytest.param(2, 4, 4, 33, 2, id="text-only"),
    pytest.param(1, 1, 0, 1, 1, id="one-number"),
    pytest.param(1, 3, 1, 3072, 1, id="5b-width"),
]


def inputs(B: int, T: int, D: int, M: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Returns h, d, gates, weight, bias, modulation."""
    shapes = [(B, T, D), (B, T, D), (M, 6, D), (D,), (D,), (M, 6, D)]
    return [draw(i, *shape, dtype=dtype, device=device) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "T", "L", "D", "M"), SHAPES)
def test_norm_modulate(B, T, L, D, M, dtype, device):
    h, _, _, weight, bias, modulation = inputs(B, T, D, M, dtype, device)
    h = h + 3
    exact = reference.norm_modulate(h.double(), weight.double(), bias.double(), modulation.double(), L, EPS)
    plain = reference.norm_modulate(h, weight, bias, modulation, L, EPS)
    for way in (h, spread(h)):
        no_worse_than_torch("y", op.norm_modulate(way, weight, bias, modulation, L, EPS), plain, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "T", "L", "D", "M"), SHAPES)
def test_gate_residual_norm_modulate(B, T, L, D, M, dtype, device):
    h, d, gates, weight, bias, modulation = inputs(B, T, D, M, dtype, device)
    exact_sum = reference.gate_residual(h.double(), d.double(), gates.double(), L)
    exact = reference.norm_modulate(exact_sum, weight.double(), bias.double(), modulation.double(), L, EPS)
    plain_sum = reference.gate_residual(h, d, gates, L)
    plain = reference.norm_modulate(plain_sum, weight, bias, modulation, L, EPS)
    for way, other in ((h, d), (spread(h), spread(d))):
        made_sum, made = op.gate_residual_norm_modulate(way, other, gates, weight, bias, modulation, L, EPS)
        no_worse_than_torch("h'", made_sum, plain_sum, exact_sum)
        no_worse_than_torch("y", made, plain, exact)
        alone, stats = op.gate_residual(way, other, gates, L, EPS)
        no_worse_than_torch("h' alone", alone, plain_sum, exact_sum)
        exact_stats = reference.row_stats(exact_sum, EPS)
        no_worse_than_torch("its rows", stats, reference.row_stats(plain_sum, EPS), exact_stats)


def test_registration(device):
    h, d, gates, weight, bias, modulation = inputs(2, 3, 8, 2, torch.float32, device)
    torch.library.opcheck(op.norm_modulate, (h, weight, bias, modulation, 1, EPS))
    torch.library.opcheck(op.gate_residual, (h, d, gates, 1, EPS))
    torch.library.opcheck(op.gate_residual_norm_modulate, (h, d, gates, weight, bias, modulation, 1, EPS))


def test_what_does_not_fit_is_named(device):
    h, d, gates, weight, bias, modulation = inputs(2, 3, 8, 2, torch.float32, device)
    with pytest.raises(ValueError, match=r"norm_modulate: modulation \(2, 5, 8\)"):
        op.norm_modulate(h, weight, bias, modulation[:, :5], 1, EPS)
    with pytest.raises(ValueError, match="norm_modulate: length=4 of 3 tokens"):
        op.norm_modulate(h, weight, bias, modulation, 4, EPS)
    with pytest.raises(ValueError, match=r"gate_residual: d \(2, 2, 8\)"):
        op.gate_residual(h, d[:, :2], gates, 1, EPS)
    with pytest.raises(ValueError, match=r"norm's \(7,\)"):
        op.gate_residual_norm_modulate(h, d, gates, weight[:7], bias, modulation, 1, EPS)
