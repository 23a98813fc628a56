"""TIFF: compressions, byte orders, layouts, kinds of pixels, and those that are not read."""

from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from tests.face.corpus.materials import ALPHA, RED, WIDE, WIDE_ALPHA, black_and_white, later, poster
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import BINARY, DAMAGED, DEEP, GREY, LAID, NEAR, POSTER, SAME, grey, on_white
from tests.face.pictures import TIFF_BODY, blocks, encoded, tiff


def grey_tiff(values: Any, bits: int, **fields: int) -> bytes:
    more = {int(tag[1:]): (value,) for tag, value in fields.items()}
    return tiff(values.tobytes(), fields={258: (bits,), 262: (1,), 277: (1,)} | more)


def twelve_bits() -> bytes:
    left, right = np.moveaxis((RED * np.float64(4095 / 255)).round().astype(np.uint16).reshape(48, 32, 2), 2, 0)
    return grey_tiff(np.dstack([left >> 4, (left & 15) << 4 | right >> 8, right & 255]).astype(np.uint8), 12)


def tiled(side: int = 16, compression: int = 1) -> bytes:
    body = blocks().reshape(3, 16, 4, 16, 3).swapaxes(1, 2).tobytes()
    tiles = {322: (side,), 323: (side,), 324: tuple(range(TIFF_BODY, TIFF_BODY + len(body), 768)), 325: (768,) * 12}
    return tiff(body, fields={259: (compression,), 273: (), 278: (), 279: ()} | tiles)


def four_channels(extra: int, picture: Any = None) -> bytes:
    values = np.dstack([blocks(), ALPHA]) if picture is None else picture
    return tiff(values.tobytes(), fields={258: (8 * values.itemsize,) * 4, 277: (4,), 338: (extra,)})


def two_channels(extra: int, values: Any) -> bytes:
    return tiff(values.tobytes(), fields={258: (8, 8), 262: (1,), 277: (2,), 338: (extra,)})


def premultiplied() -> Any:
    return np.dstack([(blocks() * (ALPHA[..., None] / 255)).round().astype(np.uint8), ALPHA])


PLANES = {273: tuple(TIFF_BODY + 3072 * i for i in range(3)), 279: (3072,) * 3, 284: (2,)}
TIFF: Group = {
    SAME: {
        **{
            name: partial(encoded, blocks(), "TIFF", compression=compression)
            for name, compression in {
                "plain": "raw",
                "PackBits": "packbits",
                "LZW": "tiff_lzw",
                "deflate": "tiff_adobe_deflate",
                "Zstandard": "zstd",
                "LZMA": "lzma",
            }.items()
        },
        "big-endian": lambda: tiff(blocks().tobytes(), order=">"),
        "BigTIFF": lambda: encoded(blocks(), "TIFF", big_tiff=True),
        "16 bits": lambda: tiff(WIDE.astype("<u2").tobytes(), fields={258: (16,) * 3}),
        "16 bits, big-endian": lambda: tiff(WIDE.astype(">u2").tobytes(), fields={258: (16,) * 3}, order=">"),
        "tiled": tiled,
        "colours in planes": lambda: tiff(np.moveaxis(blocks(), 2, 0).tobytes(), fields=PLANES),
        "several pages": lambda: encoded(blocks(), "TIFF", **later()),
        "a fourth channel that means nothing": lambda: four_channels(0),
    },
    NEAR: {
        "JPEG inside": lambda: encoded(blocks(), "TIFF", compression="jpeg", quality=95),
        "CMYK": lambda: encoded(Image.fromarray(blocks()).convert("CMYK"), "TIFF"),
        "YCbCr": lambda: tiff(
            np.asarray(Image.fromarray(blocks()).convert("YCbCr")).tobytes(), fields={262: (6,), 530: (1, 1)}
        ),
    },
    BINARY: {"fax (group 4)": lambda: encoded(black_and_white(), "TIFF", compression="group4")},
    POSTER: {"palette": lambda: encoded(poster(), "TIFF")},
    GREY: {
        "grey of 8 bits": lambda: grey_tiff(RED, 8),
        "grey of 12 bits": twelve_bits,
        "grey of 16 bits": lambda: grey_tiff(WIDE[..., 0], 16),
        "grey of 8 bits, 0 is white": lambda: grey_tiff(255 - RED, 8, t262=0),
        "grey of 16 bits, 0 is white": lambda: grey_tiff(65535 - WIDE[..., 0], 16, t262=0),
    },
    LAID: {
        "alpha": lambda: four_channels(2),
        "alpha of 16 bits": lambda: four_channels(2, np.dstack([WIDE, WIDE_ALPHA])),
        "alpha, multiplied already": lambda: four_channels(1, premultiplied()),
    },
    Shown(partial(on_white, grey), 1, "grey, transparent parts white"): {
        "grey with alpha": lambda: two_channels(2, np.dstack([RED, ALPHA])),
        "grey with alpha, multiplied already": lambda: two_channels(1, premultiplied()[..., (0, 3)]),
    },
    Shown(lambda: np.full((48, 64, 3), 119, np.uint8), 1, "grey"): {
        "Lab": lambda: tiff(np.uint8([128, 0, 0] * 64 * 48).tobytes(), fields={262: (8,)}),
    },
    DEEP: {
        "32 bits": lambda: grey_tiff(RED.astype(np.uint32), 32),
        "16 bits with a sign": lambda: grey_tiff(WIDE[..., 0], 16, t339=2),
        "floating-point": lambda: grey_tiff(RED.astype(np.float32), 32, t339=3),
    },
    DAMAGED: {
        "no size": lambda: tiff(bytes(64), (0, 0)),
        "3000 channels": lambda: tiff(bytes(64), fields={277: (3000,)}),
        "one strip, of zeros, as LZW": lambda: tiff(bytes(64), fields={259: (5,)}),
    },
}
