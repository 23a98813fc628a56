"""Spiral convolution, forward and backward."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.spiral_conv import spiral_conv
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch

SHAPES = [  # B, V, S, C, E
    pytest.param(1, 5, 3, 3, 8, id="one-block"),
    pytest.param(2, 65, 9, 33, 70, id="ragged-every-axis"),
    pytest.param(1, 128, 9, 64, 64, id="exact-blocks"),
    pytest.param(3, 4, 1, 1, 1, id="one-of-each"),
    pytest.param(1, 33, 2, 16, 130, id="two-blocks-of-channels"),
]


def inputs(B: int, V: int, S: int, C: int, E: int, dtype, device) -> tuple[Tensor, ...]:
    """Returns x, index, weight, bias."""
    index = torch.randint(V, (V, S), generator=torch.Generator().manual_seed(9)).to(device)
    x, weight, bias = (
        draw(i, *shape, dtype=dtype, device=device) for i, shape in enumerate([(B, V, C), (E, S * C), (E,)])
    )
    return x, index, weight, bias


@pytest.mark.parametrize("elu", [True, False], ids=["elu", "linear"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "V", "S", "C", "E"), SHAPES)
def test_matches_reference(B, V, S, C, E, dtype, elu, device):
    x, index, weight, bias = inputs(B, V, S, C, E, dtype, device)
    exact = reference.spiral_conv(x.double(), index, weight.double(), bias.double(), elu)
    plain = reference.spiral_conv(x, index, weight, bias, elu)
    no_worse_than_torch("y", spiral_conv(x, index, weight, bias, elu), plain, exact)
    across = x.transpose(1, 2).contiguous().transpose(1, 2)
    no_worse_than_torch("y of a transposed x", spiral_conv(across, index.int(), weight, bias, elu), plain, exact)


@pytest.mark.parametrize("elu", [True, False], ids=["elu", "linear"])
def test_gradient_of_the_kernel_is_the_references(elu, device):
    x, index, weight, bias = inputs(2, 5, 3, 3, 4, torch.float32, device)
    wanted = [part.requires_grad_() for part in (x, weight, bias)]
    made = torch.autograd.grad(spiral_conv(x, index, weight, bias, elu).square().sum(), wanted)
    plain = torch.autograd.grad(reference.spiral_conv(x, index, weight, bias, elu).square().sum(), wanted)
    torch.testing.assert_close(made, plain)


@pytest.mark.parametrize("elu", [True, False], ids=["elu", "linear"])
def test_gradient(elu, device):
    x, index, weight, bias = inputs(2, 5, 3, 3, 4, torch.float64, device)
    wanted = [part.requires_grad_() for part in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda x, w, b: spiral_conv(x, index, w, b, elu), wanted)


def test_registration(device):
    x, index, weight, bias = inputs(2, 5, 3, 3, 4, torch.float32, device)
    torch.library.opcheck(
        spiral_conv, (x.requires_grad_(), index, weight.requires_grad_(), bias.requires_grad_(), True)
    )


def test_what_does_not_fit_is_named(device):
    x, index, weight, bias = inputs(2, 5, 3, 3, 4, torch.float32, device)
    with pytest.raises(ValueError, match=r"spiral_conv: weight \(4, 8\)"):
        spiral_conv(x, index, weight[:, :8], bias, True)
