"""Pictures in half blocks: colours, sizes, and which terminals can draw them."""

from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console
from rich.segment import Segment

from fantasyid_engine.cli.preview import can_draw, half_blocks

Colour = tuple[int, int, int]


def terminal(**options: Any) -> Console:
    settings = {"file": StringIO(), "force_terminal": True, "color_system": "truecolor", "width": 80, "_environ": {}}
    return Console(**settings | options)


def pixels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What a terminal shows of it, as an array of pixels [2 rows, columns, 3]."""
    rows = list(Segment.split_lines(half_blocks(picture).segments))
    shown: list[list[Colour]] = []
    for row in rows:
        assert all(segment.text == "▀" for segment in row)
        styles = [segment.style for segment in row]
        for of in ("color", "bgcolor"):
            colours = [getattr(style, of).triplet for style in styles]
            shown.append([tuple(colour) for colour in colours])
    return np.array(shown, np.uint8)


def colours(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(4, 3), (2, 1), (32, 32), (32, 64)], ids=str)
def test_small_pictures_keep_their_pixels(size: tuple[int, int]) -> None:
    picture = colours(*size)
    assert np.array_equal(pixels(picture), picture)


def test_the_terminal_gets_the_colours() -> None:
    console, picture = terminal(), np.array([[[1, 2, 3]], [[40, 50, 60]]], np.uint8)
    console.print(half_blocks(picture))
    assert isinstance(console.file, StringIO)
    assert "\x1b[38;2;1;2;3;48;2;40;50;60m▀\x1b[0m\n" in console.file.getvalue()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((64, 64), (32, 32)),
        ((96, 64), (32, 21)),
        ((480, 720), (32, 48)),
        ((2000, 16), (32, 1)),
        ((100, 1000), (6, 64)),
        ((3, 5000), (2, 64)),
        ((1, 1), (2, 1)),
        ((5, 7), (4, 7)),
    ],
    ids=str,
)
def test_sizes(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert pixels(colours(*size)).shape == (*expected, 3)


def test_large_pictures_are_averaged() -> None:
    """Blocks of 4 x 4 black and white pixels in a pattern that sampling would alias."""
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[::2, ::2] = 200
    picture[:, 64:] += np.array([0, 40, 0], np.uint8)
    shown = pixels(picture)
    assert shown.shape == (32, 32, 3)
    assert (shown[:, :16] == 50).all() and (shown[:, 16:] == (50, 90, 50)).all()


def test_a_narrow_terminal_cuts_it() -> None:
    console = terminal(width=20)
    lines = console.render_lines(half_blocks(colours(32, 32)), pad=False)
    assert len(lines) == 16 and {sum(len(segment.text) for segment in line) for line in lines} == {20}


def test_terminals() -> None:
    assert can_draw(terminal()) and can_draw(terminal(color_system="256"))
    assert not can_draw(terminal(color_system=None))
    assert not can_draw(terminal(no_color=True))
    assert not can_draw(terminal(file=TextIOWrapper(BytesIO(), encoding="ascii")))
    assert not can_draw(terminal(force_terminal=None, color_system="auto"))
