"""GELU as the product's epilogue is the one by the tanh formula."""

import pytest
import torch
import torch.nn.functional as F

from fantasyid_engine.kernels import ops
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_matches_torch(dtype, device):
    shapes = [(2, 7, 48), (64, 48), (64,)]
    x, weight, bias = (draw(i, *shape, dtype=dtype, device=device) for i, shape in enumerate(shapes))
    exact = F.gelu(F.linear(x.double(), weight.double(), bias.double()), approximate="tanh")
    plain = F.gelu(F.linear(x, weight, bias), approximate="tanh")
    no_worse_than_torch("y", ops.linear_gelu(x, weight, bias), plain, exact)
    other = F.gelu(F.linear(x.double(), weight.double(), bias.double()))
    if dtype == torch.float32:
        assert (ops.linear_gelu(x, weight, bias) - other).abs().max() > 1e-4, "the two formulas differ by more"
