"""JPEG: what cameras, phones and printers write, and files that are cut off."""

import struct
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tests.face.corpus.materials import NOISE, RED, later
from tests.face.corpus.model import Group, Refused, Shown
from tests.face.corpus.results import CUT_OFF, DAMAGED, NEAR, grey
from tests.face.corpus.saved import FINE, jpeg
from tests.face.pictures import blocks, changed, encoded


def cmyk() -> bytes:
    return jpeg(Image.fromarray(blocks()).convert("CMYK"))


def ycck() -> bytes:
    light = np.asarray(Image.fromarray(255 - blocks()).convert("YCbCr"))
    inks = np.dstack([255 - light, np.zeros_like(RED)])
    return changed(jpeg(Image.frombytes("CMYK", (64, 48), inks.tobytes())), b"Adobe", 11, b"\2")


def with_segment(marker: int, content: bytes, times: int = 1) -> bytes:
    """A JPEG with one more segment at its start, or more of the same."""
    data = jpeg()
    return data[:2] + (struct.pack(">BBH", 255, marker, len(content) + 2) + content) * times + data[2:]


def thumbnailed() -> bytes:
    return with_segment(0xE1, b"Exif\0\0II*\0" + jpeg(blocks(16, 16)))


def scanned_again(times: int) -> bytes:
    """A progressive JPEG with its last scan so many times more."""
    data = jpeg(progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * times + data[-2:]


def ends_in_zeros(**options: Any) -> bytes:
    data = encoded(NOISE, "JPEG", **options)
    return data[: int(0.6 * len(data))].ljust(len(data), b"\0")


JPEG: Group = {
    NEAR: {
        "baseline": jpeg,
        "progressive": partial(jpeg, progressive=True),
        "colours at half the resolution": partial(jpeg, subsampling=2),
        "restart markers": partial(jpeg, restart_marker_blocks=2),
        "RGB, not YCbCr": partial(jpeg, keep_rgb=True),
        "CMYK, inverted as Adobe has it": cmyk,
        "CMYK without Adobe's mark, taken as inverted too": lambda: cmyk().replace(b"Adobe", b"adobe"),
        "YCCK": ycck,
        "a second picture behind it, as phones write (MPO)": lambda: encoded(blocks(), "MPO", **later(), **FINE),
        "a thumbnail in its EXIF": thumbnailed,
        "a script in its comment": lambda: with_segment(0xFE, b"<?php exit ?><script>alert(1)</script>"),
    },
    Shown(grey, 3, "grey"): {"grey": lambda: jpeg(Image.fromarray(RED))},
    DAMAGED: {
        "12 bits a colour": lambda: changed(jpeg(), b"\xff\xc0", 4, b"\x0c"),
        "its height comes later (DNL)": lambda: changed(jpeg(), b"\xff\xc0", 5, b"\0\0"),
    },
    Refused("image_unreadable", "more than 100 scans"): {
        "progressive, its last scan 1,000 times": lambda: scanned_again(1_000),
    },
    Refused("image_unreadable", "more than 5,000 segments"): {
        "EXIF in 10,000 segments": lambda: with_segment(0xE1, b"Exif\0\0II", 10_000),
        "10,000 comments behind an end": lambda: with_segment(0xFE, b"", 10_000).replace(
            b"\xff\xfe", b"\xff\xd9\xff\xfe", 1
        ),
    },
    CUT_OFF: {
        "cut off, but its thumbnail is whole": lambda: thumbnailed()[:-300],
        "the last 40 % are zeros": ends_in_zeros,
        "progressive, the last 40 % are zeros": partial(ends_in_zeros, progressive=True),
    },
}
