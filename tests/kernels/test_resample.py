"""Weighted sums of vertices, forward and backward."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.resample import resample
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch

SHAPES = [  # B, V, W, J, C
    pytest.param(1, 4, 1, 1, 1, id="one-of-each"),
    pytest.param(2, 7, 33, 3, 70, id="up-ragged"),
    pytest.param(1, 64, 16, 4, 130, id="down-two-blocks-of-channels"),
]


def inputs(B: int, V: int, W: int, J: int, C: int, dtype, device) -> tuple[Tensor, Tensor, Tensor]:
    """Returns x, index, value."""
    index = torch.randint(V, (W, J), generator=torch.Generator().manual_seed(9)).to(device)
    return draw(0, B, V, C, dtype=dtype, device=device), index, draw(1, W, J, dtype=torch.float32, device=device)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "V", "W", "J", "C"), SHAPES)
def test_matches_reference(B, V, W, J, C, dtype, device):
    x, index, value = inputs(B, V, W, J, C, dtype, device)
    exact = reference.resample(x.double(), index, value.double())
    plain = reference.resample(x, index, value)
    no_worse_than_torch("y", resample(x, index, value), plain, exact)
    across = x.transpose(1, 2).contiguous().transpose(1, 2)
    no_worse_than_torch("y of a transposed x", resample(across, index.int(), value), plain, exact)


def test_gradient(device):
    x, index, value = inputs(2, 4, 5, 3, 2, torch.float64, device)
    assert torch.autograd.gradcheck(lambda x: resample(x, index, value), [x.requires_grad_()])


def test_registration(device):
    x, index, value = inputs(2, 4, 5, 3, 2, torch.float32, device)
    torch.library.opcheck(resample, (x.requires_grad_(), index, value))


def test_what_does_not_fit_is_named(device):
    x, index, value = inputs(2, 4, 5, 3, 2, torch.float32, device)
    with pytest.raises(ValueError, match=r"resample: value \(5, 2\)"):
        resample(x, index, value[:, :2])
