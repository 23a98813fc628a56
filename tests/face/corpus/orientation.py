"""Photos stored turned or mirrored: every EXIF orientation in every format, and values that mean none."""

from collections.abc import Callable

from PIL import PngImagePlugin

from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import NEAR, SAME
from tests.face.corpus.saved import SAVED
from tests.face.pictures import blocks, encoded, exif, heic, stored


def turned(*kinds: str) -> dict[str, Callable[[], bytes]]:
    return {
        f"{kind}, {number}": lambda kind=kind, number=number: SAVED[kind](stored(number), exif=exif(number))
        for kind in kinds
        for number in range(1, 9)
    }


def with_xmp() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="6"/>')
    return encoded(stored(6), "PNG", pnginfo=info)


ORIENTATION: Group = {
    NEAR: turned("JPEG", "AVIF"),
    SAME: {
        **turned("PNG", "WebP", "TIFF"),
        **{
            f"PNG, {number}": lambda number=number: encoded(blocks(), "PNG", exif=exif(number))
            for number in (0, 9, 65535)
        },
        "PNG, 6 as XMP says": with_xmp,
    },
    Shown(tolerance=6): {
        f"HEIC, {number}": lambda number=number: heic(stored(number), number) for number in range(1, 9)
    },
}
