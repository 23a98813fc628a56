"""TilePlan: tiles cover the picture as promised, weights sum to one, whatever the sizes."""

from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine._native import TilePlan
from tests.csrc.plain_blend import tile_weights

Axis = tuple[int, int, int]  # length, tile, overlap


@st.composite
def axes(draw: st.DrawFn, longest: int) -> Axis:
    """Any axis from 1 px, also with tiles that are longer than it."""
    length = draw(st.integers(1, longest))
    tile = draw(st.integers(1, length + longest // 4))
    return length, tile, draw(st.integers(0, tile - 1))


def plan_of(down: Axis, across: Axis) -> TilePlan:
    return TilePlan(*(size for pair in zip(down, across, strict=True) for size in pair))


@settings(max_examples=300, deadline=None)
@given(axes(2000))
def test_an_axis_is_covered_evenly_by_the_fewest_tiles(axis: Axis) -> None:
    length, tile, overlap = axis
    plan = TilePlan(1, length, 1, tile, 0, overlap) if length <= 1000 else TilePlan(length, 1, tile, 1, overlap, 0)
    column = 1 if length <= 1000 else 0
    starts, sizes = plan.tiles[:, column].tolist(), plan.tiles[:, column + 2]
    tile = min(tile, length)
    n = len(starts)
    assert len(plan) == n
    assert (sizes == tile).all()
    assert starts[0] == 0
    assert starts[-1] + tile == length
    assert all(start + tile - following >= overlap for start, following in pairwise(starts))
    assert starts == [floor(Fraction(i * (length - tile), max(n - 1, 1)) + Fraction(1, 2)) for i in range(n)]
    assert n == 1 or (n - 1) * tile - (n - 2) * overlap < length


@settings(max_examples=100, deadline=None)
@given(axes(60), axes(60))
def test_every_pixel_is_covered_and_weights_sum_to_one(down: Axis, across: Axis) -> None:
    plan = plan_of(down, across)
    total = np.zeros((plan.height, plan.width))
    expected = tile_weights(plan.tiles, plan.height, plan.width)
    for i, (top, left, height, width) in enumerate(plan.tiles):
        weights = plan.weights(i)
        assert weights.dtype == np.float32
        assert weights.shape == (height, width)
        assert (weights > 0).all()
        np.testing.assert_allclose(weights, expected[i], rtol=1e-6)
        total[top : top + height, left : left + width] += weights
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(axes(60), axes(60), st.integers(1, 9))
def test_scaled_multiplies_every_coordinate(down: Axis, across: Axis, factor: int) -> None:
    plan = plan_of(down, across)
    scaled = plan.scaled(factor)
    assert (scaled.height, scaled.width) == (plan.height * factor, plan.width * factor)
    np.testing.assert_array_equal(scaled.tiles, plan.tiles * factor)
    np.testing.assert_allclose(
        scaled.weights(len(plan) - 1),
        tile_weights(scaled.tiles, scaled.height, scaled.width)[-1],
        rtol=1e-6,
    )


def test_tiles_come_row_by_row() -> None:
    plan = TilePlan(60, 90, 36, 48, 10, 5)
    assert plan.tiles.dtype == np.int64
    assert plan.tiles.tolist() == [[0, 0, 36, 48], [0, 42, 36, 48], [24, 0, 36, 48], [24, 42, 36, 48]]
    assert len(plan) == 4


def test_ramps_only_where_tiles_meet() -> None:
    weights = TilePlan(4, 10, 4, 6, 0, 2).weights(0)
    np.testing.assert_allclose(weights, np.tile([1, 1, 1, 1, 0.75, 0.25], (4, 1)))


def test_overlap_does_not_matter_under_one_tile() -> None:
    assert TilePlan(5, 7, 2**62, 2**62, 2**62, 2**62).tiles.tolist() == [[0, 0, 5, 7]]


def test_the_longest_side() -> None:
    plan = TilePlan(1, 65536, 1, 1000, 0, 333)
    assert plan.tiles[-1].tolist() == [0, 64536, 1, 1000]


HOSTILE = [
    pytest.param((0, 8, 4, 4, 1, 1), "height is 0", id="no-height"),
    pytest.param((8, -1, 4, 4, 1, 1), "width is -1", id="negative-width"),
    pytest.param((8, 8, 0, 4, 0, 1), "tile_height is 0", id="no-tile"),
    pytest.param((8, 8, 4, -(2**63), 1, 1), "tile_width is -9223372036854775808", id="least-tile"),
    pytest.param((8, 8, 4, 4, 4, 1), "overlap_height is 4; it must be an integer from 0 to 3", id="overlap-of-a-tile"),
    pytest.param((8, 8, 4, 4, 1, 2**62), "overlap_width is 4611686018427387904", id="huge-overlap"),
    pytest.param((8, 8, 4, 4, -1, 1), "overlap_height is -1", id="negative-overlap"),
    pytest.param((8, 8, 8, 8, 0, -(2**63)), "overlap_width is -9223372036854775808", id="least-overlap-of-one-tile"),
    pytest.param((2**62, 8, 4, 4, 1, 1), "height is 4611686018427387904", id="huge-height"),
    pytest.param((8, 65537, 4, 4, 1, 1), "width is 65537; it must be an integer from 1 to 65536", id="too-wide"),
    pytest.param((65536, 65536, 8192, 8192, 0, 0), "number of pixels is 4294967296", id="too-many-pixels"),
    pytest.param((2048, 2048, 8, 8, 0, 0), "number of tiles is 65536", id="too-many-tiles"),
]


@pytest.mark.parametrize(("arguments", "message"), HOSTILE)
def test_hostile_sizes_are_refused(arguments: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        TilePlan(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, "8", 8.0, 2**63, -(2**63) - 1, [8]], ids=str)
@pytest.mark.parametrize("position", range(6))
def test_what_is_no_64_bit_integer_is_refused(value: object, position: int) -> None:
    arguments: list[object] = [8, 8, 4, 4, 1, 1]
    arguments[position] = value
    with pytest.raises(TypeError):
        TilePlan(*arguments)


@pytest.mark.parametrize("tile", [-(2**63), -1, 9, 2**62])
def test_weights_of_no_tile(tile: int) -> None:
    with pytest.raises(ValueError, match=rf"tile is {tile}; it must be an integer from 0 to 8"):
        TilePlan(20, 20, 8, 8, 2, 2).weights(tile)


@pytest.mark.parametrize("factor", [-(2**63), -1, 0, 3277, 2**62])
def test_scaled_by_too_little_or_too_much(factor: int) -> None:
    with pytest.raises(ValueError, match=rf"factor is {factor}; it must be an integer from 1 to 3276"):
        TilePlan(20, 20, 8, 8, 2, 2).scaled(factor)


def test_scaled_to_too_many_pixels() -> None:
    with pytest.raises(ValueError, match="number of pixels is"):
        TilePlan(20, 20, 8, 8, 2, 2).scaled(3276)
