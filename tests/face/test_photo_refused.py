"""What is no photo: one clear error each, and nothing allocated for what a header only claims."""

import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.photo import MAX_BYTES, MAX_PIXELS, decode_photo, photo_bytes, read_photo
from tests.face.pictures import assert_refused, blocks, encoded, heic, little_memory

NAME = "holiday.jpg"


def refused(code: str, data: bytes, *says: str) -> None:
    assert_refused(code, NAME, lambda: decode_photo(data, NAME), *says)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_claiming(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def bmp_claiming(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 64, 0, 0, 54) + info + bytes(64)


def tiff_claiming(width: int, height: int) -> bytes:
    fields = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, height), (279, 64)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    return (b"II*\0" + struct.pack("<IH", 8, len(fields)) + entries + bytes(4)).ljust(264, b"\0")


def gif_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    data[6:10] = struct.pack("<HH", width, height)
    return bytes(data)


def gif_with_frame(width: int, height: int) -> bytes:
    data = bytearray(encoded(Image.new("P", (16, 16)), "GIF"))
    frame = data.index(b",", 13)
    data[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def jpeg_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(blocks(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_claiming(width: int, height: int) -> bytes:
    data = bytearray(encoded(blocks(), "WEBP"))
    frame = data.index(b"\x9d\x01\x2a")
    data[frame + 3 : frame + 7] = struct.pack("<HH", width, height)
    return bytes(data)


def heif_claiming(data: bytes, width: int, height: int) -> bytes:
    changed = bytearray(data)
    box = changed.index(b"ispe")
    changed[box + 8 : box + 16] = struct.pack(">II", width, height)
    return bytes(changed)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(png_claiming(50_000, 50_000), id="png"),
        pytest.param(png_claiming(2**31 - 1, 2**31 - 1), id="png-largest"),
        pytest.param(png_claiming(MAX_PIXELS // 16 + 1, 16), id="png-just-over"),
        pytest.param(png_claiming(12_000, 12_000), id="png-where-pillow-warns"),
        pytest.param(bmp_claiming(2**31 - 1, 2**31 - 1), id="bmp-largest"),
        pytest.param(bmp_claiming(50_000, -50_000), id="bmp-top-down"),
        pytest.param(tiff_claiming(2**31, 2**31), id="tiff"),
        pytest.param(tiff_claiming(2**32 - 1, 100), id="tiff-wide"),
        pytest.param(gif_claiming(65_535, 65_535), id="gif-screen"),
        pytest.param(gif_with_frame(65_535, 65_535), id="gif-frame"),
        pytest.param(gif_with_frame(12_000, 12_000), id="gif-frame-where-pillow-warns"),
        pytest.param(jpeg_claiming(65_500, 65_500), id="jpeg"),
        pytest.param(webp_claiming(16_383, 16_383), id="webp"),
    ],
)
def test_giant_headers_allocate_nothing(data: bytes) -> None:
    assert len(data) < 4096
    decode_photo(encoded(blocks(), "PNG"), "warm.png")
    with little_memory():
        refused("image_too_large", data, "pixels")


@pytest.mark.parametrize(
    ("kind", "side", "code"),
    [
        pytest.param("heic", 12_000, "image_too_large", id="heic"),
        pytest.param("heic", 50_000, "image_too_large", id="heic-larger"),
        pytest.param("avif", 12_000, "image_too_large", id="avif"),
        pytest.param("avif", 50_000, "image_unreadable", id="avif-above-the-limit-of-its-library"),
    ],
)
def test_giant_heif_headers_allocate_nothing(kind: str, side: int, code: str) -> None:
    if kind == "avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    small = heic(blocks(64, 64)) if kind == "heic" else encoded(blocks(64, 64), "AVIF")
    decode_photo(small, "warm")
    with little_memory():
        refused(code, heif_claiming(small, side, side))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encoded(blocks(15, 64), "PNG"), id="low"),
        pytest.param(encoded(blocks(64, 15), "PNG"), id="narrow"),
        pytest.param(encoded(blocks(1, 1), "JPEG"), id="one-pixel"),
        pytest.param(encoded(blocks(8, 8), "GIF"), id="gif"),
    ],
)
def test_too_small(data: bytes) -> None:
    refused("image_too_small", data, "at least 16 pixels a side")


def test_just_large_enough() -> None:
    assert decode_photo(encoded(blocks(16, 16), "PNG"), NAME).shape == (16, 16, 3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"\0" * 5000, "no picture of a known format", id="zeros"),
        pytest.param(b"hello, this is text", "no picture of a known format", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture of a known format", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9", "no picture of a known format", id="eps"),
        pytest.param(b"%PDF-1.7\n", "no picture of a known format", id="pdf"),
        pytest.param(encoded(blocks(), "PPM"), "no picture of a known format", id="ppm"),
        pytest.param(encoded(blocks(), "ICO"), "no picture of a known format", id="ico"),
        pytest.param(encoded(blocks(), "JPEG2000"), "no picture of a known format", id="jpeg-2000"),
        pytest.param(b"PK\x03\x04" + bytes(60), "no picture of a known format", id="zip"),
        pytest.param(
            b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41" + bytes(60), "no picture of a known format", id="mp4"
        ),
        pytest.param(b"\xff\xd8\xff", "cannot be read", id="jpeg-signature-only"),
        pytest.param(b"\x89PNG\r\n\x1a\n", "cannot be read", id="png-signature-only"),
        pytest.param(b"GIF89a", "cannot be read", id="gif-signature-only"),
        pytest.param(b"BM", "cannot be read", id="bmp-signature-only"),
        pytest.param(b"II*\0", "cannot be read", id="tiff-signature-only"),
        pytest.param(b"RIFF\x10\0\0\0WEBP", "cannot be read", id="webp-signature-only"),
        pytest.param(b"\0\0\0\x10ftypheic\0\0\0\0", "cannot be read", id="heic-signature-only"),
        pytest.param(b"\0\0\0\x10ftypavif\0\0\0\0", "cannot be read", id="avif-signature-only"),
        pytest.param(encoded(Image.new("F", (32, 32)), "TIFF"), "32 bits a channel", id="floating-point"),
        pytest.param(encoded(Image.new("I", (32, 32)), "TIFF"), "32 bits a channel", id="32-bit"),
        pytest.param(tiff_claiming(0, 0), "cannot be read", id="tiff-without-size"),
    ],
)
def test_unreadable(data: bytes, says: str) -> None:
    refused("image_unreadable", data, says, "give a whole JPEG")


NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize(
    ("format", "options"),
    [
        pytest.param("JPEG", {}, id="jpeg"),
        pytest.param("JPEG", {"progressive": True}, id="jpeg-progressive"),
        pytest.param("PNG", {}, id="png"),
        pytest.param("WEBP", {}, id="webp"),
        pytest.param("TIFF", {}, id="tiff"),
        pytest.param("TIFF", {"compression": "tiff_lzw"}, id="tiff-lzw"),
        pytest.param("BMP", {}, id="bmp"),
        pytest.param("GIF", {}, id="gif"),
    ],
)
def test_truncated(format: str, options: dict, share: float) -> None:
    data = encoded(NOISE, format, **options)
    refused("image_unreadable", data[: int(share * len(data))], "give a whole")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_heic(share: float) -> None:
    data = heic(NOISE)
    refused("image_unreadable", data[: int(share * len(data))])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_jpeg_that_ends_in_zeros(share: float, progressive: bool) -> None:
    """A download that was cut off, in a file that already had its full size: never a photo whose rest is grey."""
    data = encoded(NOISE, "JPEG", progressive=progressive)
    cut = int(share * len(data))
    refused("image_unreadable", data[:cut] + bytes(len(data) - cut), "its end is missing")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
def test_flipped_bytes(format: str) -> None:
    """Anything may come out of a corrupt file, but nothing else than a picture or an InputError."""
    data = encoded(NOISE, format)
    random = np.random.default_rng(1)
    for _ in range(150):
        changed = bytearray(data)
        for place in random.integers(0, min(len(data), 300), 4):
            changed[place] = random.integers(256)
        with suppress(InputError):
            assert decode_photo(bytes(changed), NAME).dtype == np.uint8


def test_wrong_checksum_in_a_png() -> None:
    data = bytearray(encoded(NOISE, "PNG"))
    data[200] ^= 1
    refused("image_unreadable", bytes(data))


def test_heic_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(blocks())
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused("image_unreadable", data, "pip install 'fantasyid-engine[heif]'")


@pytest.mark.parametrize("kind", ["path", "bytes", "decode"])
def test_file_above_the_limit(tmp_path: Path, kind: str) -> None:
    if kind == "path":
        path = tmp_path / "photo.jpg"
        with path.open("wb") as file:
            file.truncate(MAX_BYTES + 1)
        assert_refused("image_too_large", str(path), lambda: read_photo(path), "64 MiB")
        return
    data = bytes(MAX_BYTES + 1)
    if kind == "bytes":
        assert_refused("image_too_large", "the photo file", lambda: photo_bytes(data), "64 MiB")
    else:
        refused("image_too_large", data, "64 MiB")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("absent.png", "does not exist", id="absent"),
        pytest.param("", "is a folder", id="folder"),
        pytest.param("x\0y", "cannot be opened", id="null-character"),
    ],
)
def test_missing(tmp_path: Path, name: str, says: str) -> None:
    assert_refused("image_missing", str(tmp_path), lambda: read_photo(f"{tmp_path}/{name}"), says)


def test_name_cannot_forge_a_line() -> None:
    assert_refused("image_unreadable", "a\\nERROR", lambda: decode_photo(b"", "a\nERROR"))


def test_limits_of_pillow_that_others_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    refused("image_too_large", png_claiming(50_000, 50_000), "50000 x 50000")
