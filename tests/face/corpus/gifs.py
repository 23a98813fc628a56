"""GIF: the first frame, transparent parts, a canvas wider than the frame."""

import struct

import numpy as np

from tests.face.corpus.materials import later, poster, rgb
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import POSTER
from tests.face.pictures import Picture, changed, encoded


def holes() -> Picture:
    return np.where(np.asarray(poster())[..., None] == 0, np.uint8(255), rgb(poster()))


def beside_holes() -> Picture:
    return np.pad(holes(), ((0, 0), (0, 32), (0, 0)), constant_values=255)


GIF: Group = {
    POSTER: {
        "interlaced": lambda: encoded(poster(), "GIF"),
        "not interlaced": lambda: encoded(poster(), "GIF", interlace=0),
        "an animation": lambda: encoded(poster(), "GIF", **later()),
    },
    Shown(holes, words="transparent parts white"): {
        "transparent": lambda: encoded(poster(), "GIF", transparency=0),
    },
    Shown(beside_holes, words="transparent parts white"): {
        "a frame that is narrower than its canvas": lambda: changed(
            encoded(poster(), "GIF", transparency=0), b"GIF8", 6, struct.pack("<H", 96)
        ),
    },
}
