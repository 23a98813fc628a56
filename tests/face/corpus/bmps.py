"""BMP: depths, palettes, runs, masks."""

import struct

import numpy as np

from tests.face.corpus.materials import ALPHA, black_and_white, poster
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import BINARY, DAMAGED, LAID, POSTER, SAME
from tests.face.corpus.saved import jpeg
from tests.face.pictures import blocks, bmp, encoded


def runs(bits: int) -> bytes:
    """`poster()` run by run, from below: each row is eight runs of eight."""
    rows = np.asarray(poster())[::-1, ::8]
    codes = rows * 17 if bits == 4 else rows
    return b"".join(np.dstack([np.full(8, 8), row]).astype(np.uint8).tobytes() + b"\0\0" for row in codes) + b"\0\1"


def swatches() -> bytes:
    """`poster()`'s sixteen colours as a BMP lists them."""
    colours = np.uint8((poster().getpalette() or [])[:48]).reshape(16, 3)
    return np.pad(colours[:, ::-1], ((0, 0), (0, 1))).tobytes()


BGR = blocks()[::-1, :, ::-1]
BGRX = np.dstack([BGR, ALPHA[::-1]]).tobytes()
NIBBLES = np.asarray(poster())[::-1]
BMP: Group = {
    SAME: {
        "24 bits": lambda: bmp((64, 48), 24, BGR.tobytes()),
        "24 bits, top-down": lambda: bmp((64, -48), 24, BGR[::-1].tobytes()),
        "24 bits, as OS/2 has it": lambda: (
            b"BM" + struct.pack("<IHHIIHHHH", 0, 0, 0, 26, 12, 64, 48, 1, 24) + BGR.tobytes()
        ),
        "32 bits, the last eight without meaning": lambda: bmp((64, 48), 32, BGRX),
    },
    LAID: {
        "32 bits with alpha": lambda: bmp(
            *((64, 48), 32, BGRX, struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)), compression=3, head=56
        )
    },
    Shown(tolerance=8): {
        "16 bits": lambda: bmp(
            *((64, 48), 16, ((BGR >> (3, 2, 3)).astype("<u2") << (0, 5, 11)).sum(-1, np.uint16).tobytes()),
            struct.pack("<3I", 0xF800, 0x7E0, 0x1F),
            compression=3,
        ),
    },
    POSTER: {
        "palette of 8 bits": lambda: encoded(poster(), "BMP"),
        "palette of 4 bits": lambda: bmp((64, 48), 4, (NIBBLES[:, ::2] << 4 | NIBBLES[:, 1::2]).tobytes(), swatches()),
        "runs of 8 bits (RLE8)": lambda: bmp((64, 48), 8, runs(8), swatches().ljust(1024, b"\0"), compression=1),
        "runs of 4 bits (RLE4)": lambda: bmp((64, 48), 4, runs(4), swatches(), compression=2),
    },
    BINARY: {"1 bit": lambda: encoded(black_and_white(), "BMP")},
    DAMAGED: {
        "a JPEG inside": lambda: bmp((64, 48), 24, jpeg(), compression=4),
        "runs that end early": lambda: bmp((64, 48), 8, runs(8)[:99], swatches().ljust(1024, b"\0"), compression=1),
    },
}
