"""Small files that claim to be large, or become so when they are unpacked."""

import struct

import numpy as np
from PIL import Image

from fantasyid_engine.face.photo import MAX_PIXELS
from tests.face.corpus.materials import TRANSLUCENT
from tests.face.corpus.model import Group
from tests.face.corpus.pngs import with_text
from tests.face.corpus.results import DAMAGED, LARGE, SAME
from tests.face.corpus.saved import SAVED, jpeg
from tests.face.corpus.tiffs import tiled
from tests.face.pictures import avif, blocks, bmp, changed, encoded, heic, png_around, tiff


def gif_of(width: int, height: int, *, frame: bool = False) -> bytes:
    mark, place = (b",\0\0\0\0", 5) if frame else (b"GIF8", 6)
    return changed(encoded(Image.new("P", (16, 16)), "GIF"), mark, place, struct.pack("<HH", width, height))


def heif_of(data: bytes, side: int) -> bytes:
    return changed(data, b"ispe", 8, struct.pack(">II", side, side))


ROWS = np.pad(blocks().reshape(48, -1), ((0, 0), (1, 0))).tobytes()
MOST = 2**31 - 1
CLAIMS: Group = {
    LARGE: {
        "PNG, 50,000 x 50,000": lambda: png_around((50_000, 50_000), 8, 2, bytes(100)),
        "PNG, the largest": lambda: png_around((MOST, MOST), 8, 2, bytes(100)),
        "PNG, a column more than the limit": lambda: png_around((MAX_PIXELS // 16 + 1, 16), 8, 2, b""),
        "PNG, 20,000 x 20,000, whole, of one bit": lambda: png_around((20_000, 20_000), 1, 0, bytes(20_000 * 2_501)),
        "JPEG, 65,500 x 65,500": lambda: changed(jpeg(), b"\xff\xc0", 5, struct.pack(">HH", 65_500, 65_500)),
        "WebP, 16,383 x 16,383": lambda: changed(encoded(blocks(), "WEBP"), b"\x9d\x01\x2a", 3, b"\xff\x3f\xff\x3f"),
        "WebP, lossless, 16,384 x 16,384": lambda: changed(SAVED["WebP"](blocks()), b"VP8L", 9, b"\xff\xff\xff\x0f"),
        "WebP, a canvas of the largest": lambda: changed(encoded(TRANSLUCENT, "WEBP"), b"VP8X", 12, b"\xff" * 6),
        "TIFF, 50,000 x 50,000": lambda: tiff(bytes(64), (50_000, 50_000)),
        "TIFF, 50,000 x 50,000, LZW": lambda: tiff(bytes(64), (50_000, 50_000), {259: (5,)}),
        "TIFF, one row of 4,294,967,295": lambda: tiff(bytes(64), (2**32 - 1, 16)),
        "TIFF, 64 x 48 in a tile of 20,000 x 20,000": lambda: tiled(20_000, 5),
        "BMP, 50,000 x 50,000": lambda: bmp((50_000, 50_000), 24, bytes(64)),
        "BMP, top-down, 50,000 x 50,000": lambda: bmp((50_000, -50_000), 24, bytes(64)),
        "BMP, runs, the largest": lambda: bmp((MOST, MOST), 8, bytes(64), compression=1),
        "GIF, 65,535 x 65,535": lambda: gif_of(65_535, 65_535),
        "GIF, a frame of 65,535 x 65,535": lambda: gif_of(65_535, 65_535, frame=True),
        "GIF, a frame of 12,000 x 12,000": lambda: gif_of(12_000, 12_000, frame=True),
        "AVIF, 12,000 x 12,000": lambda: heif_of(avif(blocks(64, 64)), 12_000),
        "HEIC, 12,000 x 12,000": lambda: heif_of(heic(blocks(64, 64)), 12_000),
        "HEIC, 50,000 x 50,000": lambda: heif_of(heic(blocks(64, 64)), 50_000),
    },
    DAMAGED: {
        "AVIF, 50,000 x 50,000": lambda: heif_of(avif(blocks(64, 64)), 50_000),
        "PNG, a text that unpacks to 60 MB": lambda: with_text(bytes(60_000_000).decode(), packed=True),
        "PNG, a colour profile that unpacks to 60 MB": lambda: encoded(blocks(), "PNG", icc_profile=bytes(60_000_000)),
        "PNG, 9,000 x 9,000, cut off": lambda: png_around((9_000, 9_000), 8, 2, bytes(100)),
        "TIFF, a strip of 4 GB": lambda: tiff(bytes(64), fields={259: (5,), 278: (2**32 - 1,), 279: (2**32 - 1,)}),
    },
    SAME: {"PNG, 50 MB behind its last row": lambda: png_around((64, 48), 8, 2, ROWS + bytes(50_000_000))},
}
