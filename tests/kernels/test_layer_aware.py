"""F_l behind its 1x1 projection: depthwise convolution with its halo, norm and residual in one pass."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.layer_aware import layer_aware_
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch, spread

EPS = 1e-5
SHAPES = [  # B, grid, D
    pytest.param(1, (1, 1, 1), 8, id="one-token"),
    pytest.param(2, (1, 1, 5), 33, id="one-row"),
    pytest.param(1, (2, 5, 1), 64, id="one-column"),
    pytest.param(3, (2, 3, 17), 20, id="two-segments"),
    pytest.param(1, (1, 2, 16), 16, id="exact-segment"),
    pytest.param(2, (3, 4, 4), 70, id="three-frames"),
    pytest.param(1, (1, 1, 2), 3072, id="5b-width"),
]


def inputs(B: int, grid: tuple[int, int, int], D: int, dtype, device) -> list[Tensor]:
    """Returns x, m, taps, weight, bias."""
    tokens = grid[0] * grid[1] * grid[2]
    shapes = [(B, tokens, D), (B, tokens, D), (D, 3, 3), (D,), (D,)]
    return [draw(i, *shape, dtype=dtype, device=device) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "grid", "D"), SHAPES)
def test_matches_reference(B, grid, D, dtype, device):
    x, *rest = inputs(B, grid, D, dtype, device)
    exact = reference.layer_aware(x.double(), *(part.double() for part in rest), grid, EPS)
    plain = reference.layer_aware(x, *rest, grid, EPS)
    for way, m in ((x.clone(), rest[0]), (spread(x), spread(rest[0]))):
        layer_aware_(way, m, *rest[1:], list(grid), EPS)
        no_worse_than_torch("x", way, plain, exact)


def test_frames_do_not_touch(device):
    """What changes in one latent frame stays in it."""
    x, m, *rest = inputs(1, (2, 2, 3), 8, torch.float32, device)
    one, other, changed = x.clone(), x.clone(), m.clone()
    changed[:, :6] += 1
    layer_aware_(one, m, *rest, [2, 2, 3], EPS)
    layer_aware_(other, changed, *rest, [2, 2, 3], EPS)
    assert torch.equal(one[:, 6:], other[:, 6:])
    assert not torch.equal(one[:, :6], other[:, :6])


def test_registration(device):
    x, *rest = inputs(2, (1, 2, 3), 8, torch.float32, device)
    torch.library.opcheck(layer_aware_, (x, *rest, [1, 2, 3], EPS))


def test_what_does_not_fit_is_named(device):
    x, m, taps, weight, bias = inputs(1, (1, 2, 3), 8, torch.float32, device)
    with pytest.raises(ValueError, match=r"6 tokens on a grid of \(1, 2, 4\)"):
        layer_aware_(x, m, taps, weight, bias, [1, 2, 4], EPS)
    with pytest.raises(ValueError, match=r"taps \(7, 3, 3\)"):
        layer_aware_(x, m, taps[:7], weight, bias, [1, 2, 3], EPS)
