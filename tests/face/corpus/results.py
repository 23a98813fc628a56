"""What becomes of more than one group's files: pictures that are computed from what went in, and refusals."""

from collections.abc import Callable

import numpy as np

from tests.face.corpus.materials import ALPHA, COLOURS, RED, black_and_white, poster, rgb
from tests.face.corpus.model import Refused, Shown
from tests.face.pictures import Picture, blocks


def grey(bits: int = 8) -> Picture:
    """The red of `blocks()`, as so many bits hold it."""
    return np.repeat((RED >> (8 - bits))[..., None] * np.uint8(255 // (2**bits - 1)), 3, axis=2)


def coloured(bits: int = 8) -> Picture:
    return COLOURS[RED >> (8 - bits)]


def on_white(of: Callable[[], Picture] = blocks, alpha: Picture = ALPHA) -> Picture:
    share = alpha[..., None] / 255
    return (of() * share + 255 * (1 - share)).round().astype(np.uint8)


def holed(of: Callable[[], Picture], key: Picture = RED) -> Picture:
    """White where `key` has the value of its first pixel."""
    hole = (key.reshape(48, 64, -1) == key[0, 0]).all(-1)
    return np.where(hole[..., None], np.uint8(255), of())


SAME, NEAR = Shown(), Shown(tolerance=4)
GREY = Shown(grey, words="grey")
LAID = Shown(on_white, 1, "transparent parts white")
POSTER = Shown(lambda: rgb(poster()), words="the palette's colours")
BINARY = Shown(lambda: rgb(black_and_white()), words="black and white")
DAMAGED = Refused("image_unreadable", "it is damaged or cut off")
CUT_OFF = Refused("image_unreadable", "its end is missing")
UNKNOWN = Refused("image_unreadable", "it is no picture of a known format")
DEEP = Refused("image_unreadable", "32 bits a channel")
SMALL = Refused("image_too_small", "at least 16 pixels a side")
LARGE = Refused("image_too_large", "at most 89 million pixels")
