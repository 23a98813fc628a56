"""PNG: every kind of pixel in every depth, with every kind of transparency, and broken parts."""

import struct
from functools import partial

import numpy as np
from PIL import PngImagePlugin

from tests.face.corpus.materials import ALPHA, COLOURS, RED, SRGB, WIDE, WIDE_ALPHA, later
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import DAMAGED, GREY, LAID, SAME, coloured, grey, holed, on_white
from tests.face.pictures import blocks, changed, chunk, encoded, png


def palette(bits: int = 8) -> bytes:
    return chunk(b"PLTE", COLOURS[: 2**bits].tobytes())


def transparent(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


def with_text(text: str, *, packed: bool) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text, zip=packed)
    return encoded(blocks(), "PNG", pnginfo=info)


FIRST = int(RED[0, 0])
ENTRIES = chunk(b"tRNS", bytes(0 if i == FIRST else 255 for i in range(256)))


PNG: Group = {
    SAME: {
        "RGB of 8 bits": lambda: png(blocks(), 8, 2),
        "RGB of 16 bits": lambda: png(WIDE, 16, 2),
        "interlaced": lambda: png(blocks(), 8, 2, interlaced=True),
        "16 bits, interlaced": lambda: png(WIDE, 16, 2, interlaced=True),
        "an animation (APNG)": lambda: encoded(blocks(), "PNG", **later()),
        "a picture before its animation": lambda: encoded(blocks(), "PNG", **later(), default_image=True),
        "a gamma, which is not applied": lambda: png(blocks(), 8, 2, chunk(b"gAMA", struct.pack(">I", 100_000))),
        "a text of 3 MB": lambda: with_text("x" * 3_000_000, packed=False),
    },
    **{
        Shown(partial(grey, bits), words="grey"): {
            f"{bits}-bit grey": lambda bits=bits: png(RED >> (8 - bits), bits, 0),
            f"{bits}-bit grey, interlaced": lambda bits=bits: png(RED >> (8 - bits), bits, 0, interlaced=True),
        }
        for bits in (1, 2, 4, 8)
    },
    GREY: {"16-bit grey": lambda: png(WIDE[..., 0], 16, 0)},
    Shown(partial(grey, 4), words="opaque"): {
        "4-bit grey with a transparent value": lambda: png(RED >> 4, 4, 0, transparent(FIRST >> 4)),
    },
    **{
        Shown(partial(coloured, bits), words="the palette's colours"): {
            f"{bits}-bit palette": lambda bits=bits: png(RED >> (8 - bits), bits, 3, palette(bits)),
        }
        for bits in (1, 2, 4, 8)
    },
    Shown(partial(holed, coloured), words="transparent parts white"): {
        "palette with a transparent entry": lambda: png(RED, 8, 3, palette(), ENTRIES),
    },
    Shown(partial(holed, grey), words="transparent parts white"): {
        "8-bit grey with a transparent value": lambda: png(RED, 8, 0, transparent(FIRST)),
        "16-bit grey with a transparent value": lambda: png(WIDE[..., 0], 16, 0, transparent(WIDE[0, 0, 0])),
    },
    Shown(partial(holed, blocks, blocks()), words="transparent parts white"): {
        "RGB of 16 bits with a transparent colour": lambda: png(WIDE, 16, 2, transparent(*WIDE[0, 0])),
        "RGB of 8 bits with a transparent colour": lambda: png(blocks(), 8, 2, transparent(*blocks()[0, 0])),
    },
    LAID: {
        "RGBA of 8 bits": lambda: png(np.dstack([blocks(), ALPHA]), 8, 6),
        "RGBA of 16 bits": lambda: png(np.dstack([WIDE, WIDE_ALPHA]), 16, 6),
        "RGBA of 16 bits, interlaced": lambda: png(np.dstack([WIDE, WIDE_ALPHA]), 16, 6, interlaced=True),
    },
    Shown(partial(on_white, grey), 1, "grey, transparent parts white"): {
        "8-bit grey and alpha": lambda: png(np.dstack([RED, ALPHA]), 8, 4),
        "16-bit grey and alpha": lambda: png(np.dstack([WIDE[..., 0], WIDE_ALPHA]), 16, 4),
    },
    Shown(partial(on_white, coloured, RED), 1, "transparent parts white"): {
        "palette whose entries have alpha": lambda: png(RED, 8, 3, palette(), chunk(b"tRNS", bytes(range(256)))),
    },
    DAMAGED: {
        "a wrong checksum": lambda: changed(png(blocks(), 8, 2), b"IDAT", 20, b"!"),
        "no palette": lambda: png(RED, 8, 3),
        "no pixels": lambda: png(blocks(), 8, 2)[:33] + chunk(b"IEND", b""),
        "a text that unpacks to 3 MB": lambda: with_text("x" * 3_000_000, packed=True),
        "a colour profile that unpacks to 3 MB": lambda: encoded(blocks(), "PNG", icc_profile=SRGB + bytes(3_000_000)),
    },
}
