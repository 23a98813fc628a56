"""adaLN of text and video in one launch, the video with what it lies without."""

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
    """Returns h, missing, weight, bias, modulation."""
    h = draw(0, B, T, D, dtype=dtype, device=device) + 3
    missing = draw(1, D, dtype=torch.float32, device=device)
    return [
        h,
        missing,
        *(draw(i, *shape, dtype=dtype, device=device) for i, shape in ((2, [D]), (3, [D]), (4, [M, 6, D]))),
    ]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "T", "L", "D", "M"), SHAPES)
def test_norm_modulate(B, T, L, D, M, dtype, device):
    h, *rest = inputs(B, T, D, M, dtype, device)
    exact = reference.norm_modulate(h.double(), *(part.double() for part in rest), L, EPS)
    plain = reference.norm_modulate(h, *rest, L, EPS)
    for way in (h, spread(h)):
        no_worse_than_torch("y", op.norm_modulate(way, *rest, L, EPS), plain, exact)


def test_the_video_alone_lacks_something(device):
    h, missing, *rest = inputs(2, 5, 64, 1, torch.float32, device)
    whole = h.clone()
    whole[:, 2:] += missing
    expected = op.norm_modulate(whole, torch.zeros_like(missing), *rest, 2, EPS)
    torch.testing.assert_close(op.norm_modulate(h, missing, *rest, 2, EPS), expected)
    assert (op.norm_modulate(h, 0 * missing, *rest, 2, EPS) - expected)[:, 2:].abs().max() > 1e-2


def test_registration(device):
    torch.library.opcheck(op.norm_modulate, (*inputs(2, 3, 8, 2, torch.float32, device), 1, EPS))


def test_what_does_not_fit_is_named(device):
    h, missing, weight, bias, modulation = inputs(2, 3, 8, 2, torch.float32, device)
    with pytest.raises(ValueError, match=r"norm_modulate: modulation \(2, 5, 8\)"):
        op.norm_modulate(h, missing, weight, bias, modulation[:, :5], 1, EPS)
    with pytest.raises(ValueError, match="norm_modulate: length=4 of 3 tokens"):
        op.norm_modulate(h, missing, weight, bias, modulation, 4, EPS)
    with pytest.raises(ValueError, match=r"norm_modulate: a vector \(7,\)"):
        op.norm_modulate(h, missing, weight[:7], bias, modulation, 1, EPS)
    with pytest.raises(ValueError, match=r"norm_modulate: missing is torch\.float16"):
        op.norm_modulate(h, missing.half(), weight, bias, modulation, 1, EPS)
