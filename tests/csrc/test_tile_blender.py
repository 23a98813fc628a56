"""TileBlender against plain NumPy: the same frames, however the tiles are divided, kept in memory or passed."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fantasyid_engine._native import TileBlender, TilePlan
from tests.csrc.plain_blend import levels, plain_blend
from tests.csrc.test_tile_plan import Axis, axes, plan_of

Pixels = list[NDArray[np.float32]]
Pieces = Iterator[tuple[int, int, int]]  # tile, first frame, frame after the last

PLANS = [  # height, width, tile, overlap
    pytest.param(TilePlan(1, 1, 1, 1, 0, 0), id="one-pixel"),
    pytest.param(TilePlan(17, 23, 17, 23, 0, 0), id="one-tile"),
    pytest.param(TilePlan(24, 36, 8, 12, 0, 0), id="no-overlap"),
    pytest.param(TilePlan(24, 600, 24, 330, 0, 47), id="one-row-of-tiles"),
    pytest.param(TilePlan(60, 90, 24, 36, 6, 9), id="3-by-3"),
    pytest.param(TilePlan(7, 9, 3, 4, 1, 1).scaled(8), id="scaled"),
    pytest.param(TilePlan(29, 31, 10, 13, 7, 11), id="many-tiles-meet"),
    pytest.param(TilePlan(300, 400, 130, 170, 31, 33), id="several-threads"),
]
FRAMES = 5


def random_pixels(plan: TilePlan, frames: int, seed: int = 0) -> Pixels:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1.3, 1.3, (3, frames, h, w)).astype(np.float32) for _, _, h, w in plan.tiles]


def tile_by_tile(plan: TilePlan, frames: int) -> Pieces:
    return ((tile, 0, frames) for tile in range(len(plan)))


def in_chunks(plan: TilePlan, frames: int) -> Pieces:
    return ((tile, frame, min(frame + 2, frames)) for frame in range(0, frames, 2) for tile in range(len(plan)))


def last_frames_first(plan: TilePlan, frames: int) -> Pieces:
    return ((tile, frame, frame + 1) for tile in range(len(plan)) for frame in reversed(range(frames)))


def frames_take_turns(plan: TilePlan, frames: int) -> Pieces:
    """Frame f lags f tiles behind frame 0."""
    for turn in range(len(plan) + frames - 1):
        yield from ((turn - frame, frame, frame + 1) for frame in range(frames) if 0 <= turn - frame < len(plan))


ORDERS = [tile_by_tile, in_chunks, last_frames_first, frames_take_turns]


def blended(plan: TilePlan, pixels: Pixels, pieces: Pieces, bits: int = 8, threads: int = 0) -> NDArray[np.integer]:
    blender = TileBlender(plan, pixels[0].shape[1], bits=bits, threads=threads)
    for tile, begin, end in pieces:
        assert not blender.complete
        blender.add(tile, begin, pixels[tile][:, begin:end])
    assert blender.complete
    return blender.frames()


def assert_near(frames: NDArray[np.integer], expected: NDArray[np.integer]) -> None:
    assert frames.dtype == expected.dtype
    assert frames.shape == expected.shape
    assert np.abs(frames.astype(int) - expected.astype(int)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("plan", PLANS)
def test_matches_the_plain_blend_in_any_order(plan: TilePlan, bits: int) -> None:
    pixels = random_pixels(plan, FRAMES)
    frames = blended(plan, pixels, tile_by_tile(plan, FRAMES), bits)
    assert frames.flags.c_contiguous
    assert_near(frames, plain_blend(plan.tiles, plan.height, plan.width, pixels, bits))
    for order in ORDERS:
        for threads in (1, 2, 5):
            np.testing.assert_array_equal(blended(plan, pixels, order(plan, FRAMES), bits, threads), frames)


@settings(max_examples=150, deadline=None)
@given(axes(40), axes(40), st.integers(1, 3), st.sampled_from([8, 16]), st.integers(0, 2**32 - 1))
def test_matches_the_plain_blend_on_any_plan(down: Axis, across: Axis, frames: int, bits: int, seed: int) -> None:
    plan = plan_of(down, across)
    pixels = random_pixels(plan, frames, seed)
    made = blended(plan, pixels, in_chunks(plan, frames), bits)
    assert_near(made, plain_blend(plan.tiles, plan.height, plan.width, pixels, bits))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("plan", PLANS)
def test_not_finite_pixels(plan: TilePlan, bits: int) -> None:
    pixels = random_pixels(plan, FRAMES)
    rng = np.random.default_rng(1)
    for decoded in pixels:
        for value in (np.nan, np.inf, -np.inf):
            decoded[rng.random(decoded.shape) < 0.1] = value
    expected = plain_blend(plan.tiles, plan.height, plan.width, pixels, bits)
    assert_near(blended(plan, pixels, in_chunks(plan, FRAMES), bits), expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_one_tile_is_converted_exactly(bits: int) -> None:
    ties = (np.arange(2**bits) + 0.5) / (2**bits - 1) * 2 - 1
    special = [np.nan, np.inf, -np.inf, -0.0, 1, -1, 1e-45, 3.4e38, -3.4e38]
    values = np.concatenate([np.linspace(-1.1, 1.1, 99_991), ties, special]).astype(np.float32)
    pixels = np.resize(values, (3, 1, 1, 65536))
    pixels = np.concatenate([pixels, -pixels, pixels[..., ::-1]], axis=1)
    frames = blended(TilePlan(1, 65536, 1, 65536, 0, 0), [pixels], iter([(0, 0, 3)]), bits)
    np.testing.assert_array_equal(frames, levels(pixels, bits).transpose(1, 2, 3, 0))


def test_pixels_under_one_tile_are_converted_exactly() -> None:
    plan = TilePlan(60, 90, 24, 36, 6, 9)
    pixels = random_pixels(plan, 1)
    frames = blended(plan, pixels, tile_by_tile(plan, 1))
    np.testing.assert_array_equal(frames[:, :18, :27], levels(pixels[0][:, :, :18, :27], 8).transpose(1, 2, 3, 0))
    np.testing.assert_array_equal(frames[:, -18:, -27:], levels(pixels[-1][:, :, -18:, -27:], 8).transpose(1, 2, 3, 0))


def _misaligned(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    raw = np.empty(pixels.nbytes + 1, np.uint8)
    made = raw[1:].view(np.float32).reshape(pixels.shape)
    made[...] = pixels
    return made


def _of_records(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Strides that are no multiples of four bytes."""
    records = np.empty(pixels.shape, np.dtype([("pixel", np.float32), ("more", np.uint8)]))
    records["pixel"] = pixels
    return records["pixel"]


def _read_only(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    pixels = pixels.copy()
    pixels.flags.writeable = False
    return pixels


LAYOUTS = [
    pytest.param(np.asfortranarray, id="fortran"),
    pytest.param(lambda x: x.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0), id="channels-last"),
    pytest.param(lambda x: np.repeat(x, 2, axis=3)[..., ::2], id="every-other-pixel"),
    pytest.param(lambda x: np.pad(x, 3)[3:-3, 3:-3, 3:-3, 3:-3], id="cut-out"),
    pytest.param(lambda x: x[..., ::-1].copy()[..., ::-1], id="mirrored"),
    pytest.param(lambda x: x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1], id="rows-backwards"),
    pytest.param(_misaligned, id="misaligned"),
    pytest.param(_of_records, id="records"),
    pytest.param(_read_only, id="read-only"),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_pixels(layout: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> None:
    plan = TilePlan(30, 41, 12, 17, 3, 4)
    pixels = random_pixels(plan, 3)
    others = [layout(decoded) for decoded in pixels]
    np.testing.assert_array_equal(
        blended(plan, others, in_chunks(plan, 3)), blended(plan, pixels, tile_by_tile(plan, 3))
    )


def test_one_pixel_repeated_by_strides() -> None:
    plan = TilePlan(30, 41, 12, 17, 3, 4)
    blender = TileBlender(plan, 2)
    for tile in range(len(plan)):
        blender.add(tile, 0, np.broadcast_to(np.float32(1), (3, 2, 12, 17)))
    assert (blender.frames() == 255).all()


def test_frames_are_not_copied_and_outlive_the_blender() -> None:
    plan = TilePlan(16, 16, 16, 16, 0, 0)
    blender = TileBlender(plan, 2)
    pixels = random_pixels(plan, 2)
    blender.add(0, 0, pixels[0])
    frames = blender.frames()
    assert np.shares_memory(frames, blender.frames())
    del blender, plan
    np.testing.assert_array_equal(frames, levels(pixels[0], 8).transpose(1, 2, 3, 0))


def test_the_blender_keeps_its_own_plan() -> None:
    blender = TileBlender(TilePlan(16, 16, 16, 16, 0, 0), 1)
    blender.add(0, 0, np.zeros((3, 1, 16, 16), np.float32))
    assert (blender.frames() == 128).all()
