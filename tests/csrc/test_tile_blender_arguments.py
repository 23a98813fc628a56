"""TileBlender's refusals: each is one line, and changes nothing."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine._native import TileBlender, TilePlan
from tests.csrc.plain_blend import plain_blend
from tests.csrc.test_tile_blender import assert_near, random_pixels

PLAN = TilePlan(20, 30, 8, 12, 2, 3)  # 3 by 3 tiles
FRAMES = 4


def zeros(*shape: int, dtype: str = "float32") -> NDArray[np.float32]:
    return np.zeros(shape, dtype)


BAD_BLENDERS = [
    pytest.param({"frames": 0}, "frames is 0; it must be an integer from 1 to 1048576", id="no-frames"),
    pytest.param({"frames": -1}, "frames is -1", id="negative-frames"),
    pytest.param({"frames": 2**62}, "frames is 4611686018427387904", id="huge-frames"),
    pytest.param({"frames": -(2**63)}, "frames is -9223372036854775808", id="least-frames"),
    pytest.param({"bits": 7}, "bits is 7; it must be 8 or 16", id="7-bits"),
    pytest.param({"bits": 0}, "bits is 0", id="0-bits"),
    pytest.param({"bits": 2**32 + 8}, "bits is 4294967304", id="bits-of-33-bits"),
    pytest.param({"threads": -1}, "threads is -1; it must be an integer from 0 to 1024", id="negative-threads"),
    pytest.param({"threads": 10**9}, "threads is 1000000000", id="a-billion-threads"),
    pytest.param({"threads": 2**62}, "threads is 4611686018427387904", id="huge-threads"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_BLENDERS)
def test_bad_blenders(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        TileBlender(PLAN, **{"frames": FRAMES, **arguments})
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, "8", 8.0, 2**63, [8]], ids=str)
@pytest.mark.parametrize("name", ["frames", "bits", "threads"])
def test_what_is_no_64_bit_integer_is_refused(name: str, value: object) -> None:
    with pytest.raises(TypeError):
        TileBlender(PLAN, **{"frames": FRAMES, name: value})


@pytest.mark.parametrize("plan", [None, "plan", [0, 0, 8, 8], TilePlan], ids=str)
def test_what_is_no_plan_is_refused(plan: object) -> None:
    with pytest.raises(TypeError):
        TileBlender(plan, 1)


def test_a_video_that_no_memory_can_hold() -> None:
    with pytest.raises(MemoryError):
        TileBlender(TilePlan(16384, 16384, 16384, 16384, 0, 0), 2**20, bits=16)


BAD_TILES = [
    pytest.param(-1, 0, zeros(3, 4, 8, 12), "tile is -1; it must be an integer from 0 to 8", id="negative-tile"),
    pytest.param(9, 0, zeros(3, 4, 8, 12), "tile is 9", id="tile-after-the-last"),
    pytest.param(2**62, 0, zeros(3, 4, 8, 12), "tile is 4611686018427387904", id="huge-tile"),
    pytest.param(
        0, -1, zeros(3, 1, 8, 12), "first_frame is -1; it must be an integer from 0 to 3", id="before-frame-0"
    ),
    pytest.param(0, 4, zeros(3, 1, 8, 12), "first_frame is 4", id="after-the-last-frame"),
    pytest.param(0, 2**63 - 1, zeros(3, 1, 8, 12), "first_frame is 9223372036854775807", id="most-first-frame"),
    pytest.param(0, 3, zeros(3, 2, 8, 12), r"must be \[3, 1 to 1, 8, 12\] from frame 3 on", id="past-the-last-frame"),
    pytest.param(0, 0, zeros(3, 5, 8, 12), r"tile 0 are \[3, 5, 8, 12\]; they must be \[3, 1 to 4", id="too-many"),
    pytest.param(0, 0, zeros(3, 0, 8, 12), r"are \[3, 0, 8, 12\]", id="no-frames"),
    pytest.param(0, 0, zeros(4, 1, 8, 12), r"are \[4, 1, 8, 12\]", id="four-channels"),
    pytest.param(0, 0, zeros(0, 1, 8, 12), r"are \[0, 1, 8, 12\]", id="no-channels"),
    pytest.param(0, 0, zeros(3, 1, 12, 8), r"are \[3, 1, 12, 8\]", id="turned"),
    pytest.param(0, 0, zeros(3, 1, 8, 11), r"are \[3, 1, 8, 11\]", id="narrow"),
    pytest.param(0, 0, zeros(3, 1, 20, 30), r"are \[3, 1, 20, 30\]", id="the-whole-picture"),
    pytest.param(0, 0, zeros(3, 8, 12), "have 3 dimensions; they must have 4", id="3-dimensions"),
    pytest.param(0, 0, zeros(1, 3, 1, 8, 12), "have 5 dimensions", id="5-dimensions"),
    pytest.param(0, 0, zeros(), "have 0 dimensions", id="0-dimensions"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype="float64"), "are float64; they must be float32", id="float64"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype="float16"), "are float16", id="float16"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype="int32"), "are int32", id="int32"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype="uint8"), "are uint8", id="uint8"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype=">f4"), "are >f4", id="big-endian"),
    pytest.param(0, 0, zeros(3, 1, 8, 12, dtype="object"), "are object", id="objects"),
    pytest.param(1, 0, zeros(3, 1, 8, 12), "tile 1 of frame 0 is out of turn; tile 0 is next", id="skips-a-tile"),
    pytest.param(
        0,
        0,
        np.broadcast_to(np.float32(0), (3, 2**20, 2**18, 2**18)),
        r"are \[3, 1048576, 262144, 262144\]",
        id="a-petabyte-by-strides",
    ),
]


@pytest.mark.parametrize(("tile", "first_frame", "pixels", "message"), BAD_TILES)
def test_bad_tiles_change_nothing(tile: int, first_frame: int, pixels: NDArray[np.float32], message: str) -> None:
    blender = TileBlender(PLAN, FRAMES)
    with pytest.raises(ValueError, match=message) as raised:
        blender.add(tile, first_frame, pixels)
    assert "\n" not in str(raised.value)
    good = random_pixels(PLAN, FRAMES)
    for i, decoded in enumerate(good):
        blender.add(i, 0, decoded)
    assert_near(blender.frames(), plain_blend(PLAN.tiles, PLAN.height, PLAN.width, good, 8))


@pytest.mark.parametrize(
    "pixels", [None, 0, b"0" * 1152, [[[[0.0] * 12] * 8]] * 3, memoryview(zeros(3, 1, 8, 12))], ids=type
)
def test_what_is_no_array_is_refused(pixels: object) -> None:
    with pytest.raises(TypeError):
        TileBlender(PLAN, FRAMES).add(0, 0, pixels)


def test_tiles_out_of_turn() -> None:
    blender = TileBlender(PLAN, FRAMES)
    pixels = random_pixels(PLAN, FRAMES)
    blender.add(0, 1, pixels[0][:, 1:3])
    for tile, begin, end, message in (
        (0, 1, 2, "tile 0 of frame 1 is out of turn; tile 1 is next"),
        (0, 0, 2, "tile 0 of frame 1 is out of turn; tile 1 is next"),
        (0, 2, 4, "tile 0 of frame 2 is out of turn; tile 1 is next"),
        (1, 1, 4, "tile 1 of frame 3 is out of turn; tile 0 is next"),
        (2, 1, 3, "tile 2 of frame 1 is out of turn; tile 1 is next"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            blender.add(tile, begin, pixels[tile][:, begin:end])
    for tile in range(1, 9):
        blender.add(tile, 1, pixels[tile][:, 1:3])
    assert not blender.complete
    with pytest.raises(ValueError, match="frames are not complete; 2 of 4 still wait for tiles"):
        blender.frames()
    for tile in range(9):
        blender.add(tile, 0, pixels[tile][:, :1])
        blender.add(tile, 3, pixels[tile][:, 3:])
    with pytest.raises(ValueError, match="tile 8 of frame 0 is out of turn; the frame has all its tiles"):
        blender.add(8, 0, pixels[8])
    assert_near(blender.frames(), plain_blend(PLAN.tiles, PLAN.height, PLAN.width, pixels, 8))


def test_no_frames_before_the_first_tile() -> None:
    with pytest.raises(ValueError, match="4 of 4 still wait"):
        TileBlender(PLAN, FRAMES).frames()


def test_properties_are_read_only() -> None:
    for owner, name in ((PLAN, "height"), (PLAN, "width"), (PLAN, "tiles"), (TileBlender(PLAN, 1), "complete")):
        with pytest.raises(AttributeError):
            setattr(owner, name, 1)
