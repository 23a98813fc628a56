"""Pictures made in code, files of them, and what every refusal must be.

The files that Pillow does not write are written here: any depth of PNG, TIFF of any layout, BMP, sizes that are lies.
"""

import resource
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageDraw, ImageFilter, features

from fantasyid_engine.errors import InputError

Picture = NDArray[np.uint8]

TURNS: dict[int, Callable[[Picture], Picture]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera that writes this orientation stores an upright picture."""

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""The passes of an interlaced PNG: first column, first row, steps right and down."""

SRGB_XYZ = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
"""Columns of sRGB's profile: red, green, blue under D50."""

TIFF_BODY = 1024
"""Where `tiff` puts the pixels."""


def blocks(height: int = 48, width: int = 64) -> Picture:
    """8 x 8 blocks of random colours: no two corners are alike, and JPEG keeps them nearly as they are."""
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))[:height, :width]


def avatar(size: int = 200) -> Picture:
    """The example avatar, [size, size, 3]: found by the avatar detector, and by the Haar cascade too."""
    with Image.open(Path(__file__).parents[2] / "docs" / "examples" / "face.png") as image:
        return np.array(image.convert("RGB").resize((size, size)))


def portrait(size: int = 400, background: int = 90) -> Picture:
    """A shaded drawing that the Haar cascade takes for a face: [size, size, 3], its box about (82, 92, 242, 242) / 400.

    Eyes at (162, 187) and (238, 187) of 400.
    """
    scale = size / 400
    image = Image.new("L", (size, size), background)
    draw = ImageDraw.Draw(image)

    def ellipse(x: float, y: float, across: float, down: float, grey: int) -> None:
        corners = (x - across, y - down, x + across, y + down)
        draw.ellipse([c * scale for c in corners], fill=grey)

    ellipse(200, 175, 108, 140, 45)  # hair
    draw.rectangle([c * scale for c in (160, 300, 240, 400)], fill=150)
    ellipse(200, 205, 86, 118, 200)
    ellipse(200, 130, 70, 40, 205)
    for x in (162, 238):
        ellipse(x, 186, 30, 17, 120)
        ellipse(x, 188, 17, 8, 215)
        ellipse(x, 188, 8, 8, 35)
        draw.rectangle([c * scale for c in (x - 28, 163, x + 28, 172)], fill=60)
    ellipse(200, 215, 10, 38, 225)
    ellipse(200, 248, 20, 9, 165)
    for x in (190, 210):
        ellipse(x, 252, 5, 3, 90)
    ellipse(200, 280, 34, 9, 110)
    ellipse(200, 276, 30, 3, 80)
    ellipse(200, 305, 26, 10, 212)
    for x in (140, 260):
        ellipse(x, 240, 16, 26, 185)
    image = image.filter(ImageFilter.GaussianBlur(4 * scale))
    return np.repeat(np.asarray(image)[..., None], 3, axis=2)


def on(canvas: tuple[int, int], *pasted: tuple[Picture, int, int]) -> Picture:
    """Pictures at (left, top) on grey of (height, width)."""
    image = Image.new("RGB", canvas[::-1], (90, 90, 90))
    for picture, left, top in pasted:
        image.paste(Image.fromarray(picture), (left, top))
    return np.array(image)


def encoded(picture: Picture | Image.Image, format: str, **options: Any) -> bytes:
    stream = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, format, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def stored(orientation: int) -> Picture:
    """`blocks()` as a camera held like that stores them."""
    return np.ascontiguousarray(TURNS[orientation](blocks()))


def avif(picture: Picture | Image.Image, **options: Any) -> bytes:
    if not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    return encoded(picture, "AVIF", **options)


def heic(picture: NDArray, orientation: int = 1) -> bytes:
    """[H, W, 3] or, with alpha, [H, W, 4], of 8 or 16 bits, of which ten are kept."""
    pillow_heif = pytest.importorskip("pillow_heif")
    mode = ("RGB" if picture.shape[2] == 3 else "RGBA") + (";16" if picture.itemsize == 2 else "")
    made = pillow_heif.from_bytes(mode, picture.shape[1::-1], picture.tobytes())
    made.info["exif"] = exif(orientation).tobytes()
    stream = BytesIO()
    made.save(stream, quality=95)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """A part of a PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_around(
    size: tuple[int, int], bits: int, colour: int, rows: bytes, *chunks: bytes, interlaced: int = 0
) -> bytes:
    """A PNG whose header says (width, height), whatever `rows` hold; `chunks` stand before them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlaced))
    body = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body


def png(values: NDArray, bits: int, colour: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    """A PNG of `values` [H, W] or [H, W, C] below 2 ** bits; colour: 0 grey, 2 RGB, 3 palette, 4 with alpha, 6 RGBA."""

    def packed(row: NDArray) -> bytes:
        if bits == 16:
            return row.astype(">u2").tobytes()
        return np.packbits(np.unpackbits(row.astype(np.uint8).reshape(-1, 1), axis=1)[:, 8 - bits :]).tobytes()

    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = (row for x, y, right, down in passes for row in values[y::down, x::right])
    size = values.shape[1], values.shape[0]
    return png_around(size, bits, colour, b"".join(b"\0" + packed(row) for row in rows), *chunks, interlaced=interlaced)


def tiff(
    body: bytes, size: tuple[int, int] = (64, 48), fields: dict[int, tuple[int, ...]] | None = None, order: str = "<"
) -> bytes:
    """A TIFF of RGB in one strip, but for what `fields` (tag: values; none leave the tag out) say."""
    plain = {256: size[:1], 257: size[1:], 258: (8, 8, 8), 259: (1,), 262: (2,), 277: (3,)}
    strip = {273: (TIFF_BODY,), 278: size[1:], 279: (len(body),)}
    said = sorted((tag, values) for tag, values in (plain | strip | (fields or {})).items() if values)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(said))
    entries, lists = b"", b""
    for tag, values in said:
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            at = len(head) + 12 * len(said) + 4 + len(lists)
            lists, packed = lists + packed, struct.pack(f"{order}I", at)
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + packed
    return (head + entries + bytes(4) + lists).ljust(TIFF_BODY, b"\0") + body


def bmp(
    size: tuple[int, int], bits: int, body: bytes, table: bytes = b"", *, compression: int = 0, head: int = 40
) -> bytes:
    """A BMP; `table` is its palette (blue, green, red, 0 each) or its masks, which a header of 56 bytes includes."""
    info = struct.pack("<IiiHHIIiiII", head, *size, 1, bits, compression, len(body), 0, 0, 0, 0)
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + table + body


def matrix_profile(*columns: tuple[float, float, float]) -> bytes:
    """sRGB's colour profile, but with these XYZ (under D50) of red, green and blue."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(int.from_bytes(data[128:132], "big")):
        name, place, _ = struct.unpack_from(">4sII", data, 132 + 12 * i)
        if name in (b"rXYZ", b"gXYZ", b"bXYZ"):
            struct.pack_into(">3i", data, place + 8, *(round(65536 * v) for v in columns[b"rgb".index(name[0])]))
    return bytes(data)


def changed(data: bytes, mark: bytes, offset: int, value: bytes) -> bytes:
    """`data` with `value` written `offset` bytes behind the first `mark`."""
    place = data.index(mark) + offset
    return data[:place] + value + data[place + len(value) :]


def assert_refused(code: str, name: str, call: Callable[[], Any], *says: str) -> None:
    """`call` must raise an InputError of this code, in one line that names the input and holds all of `says`."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert caught.value.code == code, message
    assert caught.value.exit_code == 65
    assert message.isprintable() and name in message, message
    for part in says:
        assert part in message, message


@contextmanager
def little_memory(mebibytes: int = 192) -> Iterator[None]:
    """Lets the process map only so much more memory than it has: a large allocation fails, touched or not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (mebibytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
