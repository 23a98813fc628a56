"""q and k out of the fused projection: normalised, turned, and laid out for attention."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import qk_norm_rope as op
from fantasyid_engine.kernels import reference
from fantasyid_engine.models.embedding import rotary_tables
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch, spread

EPS = 1e-6
SHAPES = [  # B, L, grid, heads, d
    pytest.param(1, 2, (1, 1, 3), 1, 16, id="one-head"),
    pytest.param(2, 3, (2, 3, 2), 5, 32, id="ragged-heads"),
    pytest.param(3, 0, (1, 2, 2), 3, 24, id="no-text-ragged-channels"),
    pytest.param(1, 1, (1, 1, 2), 48, 64, id="5b-heads"),
]


def inputs(B: int, L: int, grid: tuple[int, int, int], heads: int, d: int, dtype, device) -> tuple[Tensor, ...]:
    """Returns qkv, four norm vectors, cos, sin."""
    tokens = L + grid[0] * grid[1] * grid[2]
    qkv = draw(0, B, tokens, 3 * heads * d, dtype=dtype, device=device) + 0.5
    vectors = [draw(1 + i, d, dtype=dtype, device=device) for i in range(4)]
    cos, sin = (table.to(device) for table in rotary_tables(grid, (4, 4), 8 * (-(-d // 8))))
    return qkv, *vectors, cos[:, :d].contiguous(), sin[:, :d].contiguous()


@pytest.mark.parametrize("rotary", [True, False], ids=["rotary", "plain"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "L", "grid", "heads", "d"), SHAPES)
def test_matches_reference(B, L, grid, heads, d, dtype, rotary, device):
    qkv, *vectors, cos, sin = inputs(B, L, grid, heads, d, dtype, device)
    tables = (cos, sin) if rotary else (None, None)
    doubles = [None if table is None else table.double() for table in tables]
    exact = reference.qk_norm_rope(qkv.double(), heads, *(v.double() for v in vectors), *doubles, EPS)
    plain = reference.qk_norm_rope(qkv, heads, *vectors, *tables, EPS)
    for way in (qkv, spread(qkv)):
        made = op.qk_norm_rope(way, heads, *vectors, *tables, EPS)
        for name, one, other, third in zip("qk", made, plain, exact, strict=True):
            no_worse_than_torch(name, one, other, third)
            assert one.transpose(1, 2).is_contiguous(), "as attention kernels read it"


def test_text_is_not_turned_and_video_is(device):
    qkv, *vectors, cos, sin = inputs(1, 2, (1, 1, 3), 1, 16, torch.float32, device)
    turned, _ = op.qk_norm_rope(qkv, 1, *vectors, cos, sin, EPS)
    straight, _ = op.qk_norm_rope(qkv, 1, *vectors, None, None, EPS)
    assert torch.equal(turned[:, :, :2], straight[:, :, :2])
    assert not torch.allclose(turned[:, :, 3:], straight[:, :, 3:])


def test_registration(device):
    qkv, *vectors, cos, sin = inputs(2, 1, (1, 1, 3), 2, 16, torch.float32, device)
    torch.library.opcheck(op.qk_norm_rope, (qkv, 2, *vectors, cos, sin, EPS))
    torch.library.opcheck(op.qk_norm_rope, (qkv, 2, *vectors, None, None, EPS))


def test_what_does_not_fit_is_named(device):
    qkv, *vectors, cos, sin = inputs(1, 1, (1, 1, 3), 2, 16, torch.float32, device)
    with pytest.raises(ValueError, match=r"qk_norm_rope: \(1, 4, 96\) for 5 heads"):
        op.qk_norm_rope(qkv, 5, *vectors, cos, sin, EPS)
    with pytest.raises(ValueError, match="cos or sin"):
        op.qk_norm_rope(qkv, 2, *vectors, cos, None, EPS)
    with pytest.raises(ValueError, match="norms of"):
        op.qk_norm_rope(qkv, 2, vectors[0][:3], *vectors[1:], cos, sin, EPS)
