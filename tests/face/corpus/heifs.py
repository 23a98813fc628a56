"""AVIF and HEIC, which share a container: depths, alpha, a cut-out, broken EXIF."""

import struct

import numpy as np
from PIL import Image

from tests.face.corpus.materials import ALPHA, TRANSLUCENT, WIDE, later
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import DAMAGED, NEAR, SMALL, on_white
from tests.face.pictures import avif, blocks, changed, exif, heic


def marked() -> Image.Exif:
    made = exif(1)
    made[0x010F] = "maker"
    return made


HEIF: Group = {
    NEAR: {
        "AVIF": lambda: avif(blocks(), quality=100, subsampling="4:4:4"),
        "AVIF, an animation": lambda: avif(blocks(), **later(), quality=100, subsampling="4:4:4"),
    },
    Shown(tolerance=6): {
        "HEIC": lambda: heic(blocks()),
        "HEIC of 10 bits": lambda: heic(WIDE),
    },
    Shown(on_white, 8, "transparent parts white"): {
        "AVIF with alpha": lambda: avif(TRANSLUCENT, quality=100, subsampling="4:4:4"),
        "HEIC with alpha": lambda: heic(np.dstack([blocks(), ALPHA])),
    },
    SMALL: {"HEIC, cut to 64 x 15": lambda: changed(heic(blocks()), b"clap", 28, struct.pack(">i", -83))},
    DAMAGED: {"AVIF whose EXIF has no head": lambda: changed(avif(blocks(), exif=marked()), b"MM\0*", 0, b"XX")},
}
