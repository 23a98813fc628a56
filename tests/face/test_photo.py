"""What a photo becomes; what cannot become one is in `test_photo_refused.py`."""

import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from fantasyid_engine.face.photo import decode_photo, photo_bytes, read_photo
from tests.face.pictures import blocks, encoded, exif, heic
from tests.goldens import require_reference

TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a camera that writes this orientation has stored an upright picture."""

FORMATS = [
    pytest.param("PNG", {}, 0, id="png"),
    pytest.param("WEBP", {"lossless": True}, 0, id="webp"),
    pytest.param("TIFF", {}, 0, id="tiff"),
    pytest.param("TIFF", {"compression": "tiff_lzw"}, 0, id="tiff-lzw"),
    pytest.param("JPEG", {"quality": 95, "subsampling": 0}, 2, id="jpeg"),
    pytest.param("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 2, id="jpeg-progressive"),
    pytest.param(
        *("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 4),
        marks=pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF"),
        id="avif",
    ),
]


def decode(data: bytes) -> np.ndarray:
    return decode_photo(data, "photo.bin")


def png(picture: np.ndarray, colour_type: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16 bits: `picture` [H, W, C] or [H, W] uint16."""
    height, width = picture.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in picture)
    body = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in body
    )


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize(("format", "options", "tolerance"), FORMATS)
def test_orientation_is_undone(format: str, options: dict, tolerance: int, orientation: int) -> None:
    stored = np.ascontiguousarray(TURNS[orientation](blocks()))
    upright = decode(encoded(stored, format, exif=exif(orientation), **options))
    assert upright.shape == (48, 64, 3) and upright.dtype == np.uint8
    assert np.abs(upright.astype(int) - blocks()).max() <= tolerance


@pytest.mark.parametrize("orientation", TURNS)
def test_heic_is_turned_once(orientation: int) -> None:
    upright = decode(heic(np.ascontiguousarray(TURNS[orientation](blocks())), orientation))
    assert upright.shape == (48, 64, 3)
    assert np.abs(upright.astype(int) - blocks()).max() <= 6


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_that_does_not_exist_is_ignored(orientation: int) -> None:
    assert (decode(encoded(blocks(), "PNG", exif=exif(orientation))) == blocks()).all()


@pytest.mark.parametrize("format", ["BMP", "GIF", "PNG", "TIFF", "WEBP"])
def test_greyscale(format: str) -> None:
    grey = Image.fromarray(blocks()).convert("L")
    options = {"lossless": True} if format == "WEBP" else {}
    expected = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    assert (decode(encoded(grey, format, **options)) == expected).all()


@pytest.mark.parametrize("format", ["BMP", "GIF", "PNG", "TIFF"])
def test_one_bit(format: str) -> None:
    image = Image.fromarray(blocks()).convert("1")
    values = np.asarray(image).astype(np.uint8) * 255
    assert (decode(encoded(image, format)) == values[..., None]).all()


@pytest.mark.parametrize("format", ["BMP", "GIF", "PNG", "TIFF"])
def test_palette(format: str) -> None:
    image = Image.fromarray(blocks()).quantize(16)
    assert (decode(encoded(image, format)) == np.asarray(image.convert("RGB"))).all()


def half_transparent(mode: str) -> Image.Image:
    image = Image.fromarray(blocks()).convert(mode)
    alpha = Image.new("L", image.size, 255)
    alpha.paste(0, (0, 0, 32, 48))
    alpha.paste(128, (32, 0, 48, 48))
    image.putalpha(alpha)
    return image


@pytest.mark.parametrize(
    ("mode", "format"), [("RGB", "PNG"), ("RGB", "TIFF"), ("RGB", "WEBP"), ("L", "PNG"), ("L", "TIFF")], ids=str
)
def test_transparency_is_laid_on_white(mode: str, format: str) -> None:
    options = {"lossless": True, "exact": True} if format == "WEBP" else {}
    decoded = decode(encoded(half_transparent(mode), format, **options)).astype(int)
    opaque = np.asarray(Image.fromarray(blocks()).convert(mode).convert("RGB")).astype(int)
    assert (decoded[:, :32] == 255).all()
    assert np.abs(decoded[:, 32:48] - (opaque[:, 32:48] * 128 + 255 * 127) / 255).max() <= 1
    assert (decoded[:, 48:] == opaque[:, 48:]).all()


@pytest.mark.parametrize(
    ("format", "transparency"),
    [
        pytest.param("PNG", 0, id="png-one-entry"),
        pytest.param("PNG", b"\0" + b"\xff" * 15, id="png-alpha-of-entries"),
        pytest.param("GIF", 0, id="gif"),
    ],
)
def test_transparency_of_a_palette(format: str, transparency: int | bytes) -> None:
    image = Image.fromarray(blocks()).quantize(16)
    expected = np.asarray(image.convert("RGB")).copy()
    expected[np.asarray(image) == 0] = 255
    decoded = decode(encoded(image, format, transparency=transparency))
    assert (decoded == expected).all() and (np.asarray(image) == 0).any()


def test_transparent_colour() -> None:
    expected = blocks().copy()
    colour = tuple(int(c) for c in expected[0, 0])
    expected[(expected == colour).all(axis=-1)] = 255
    assert (decode(encoded(blocks(), "PNG", transparency=colour)) == expected).all()


SIXTEEN = (blocks()[..., 0].astype(np.uint16) * 257).clip(0, 65535)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_of_grey_are_scaled(format: str) -> None:
    image = Image.fromarray(SIXTEEN)
    assert image.mode == "I;16"
    assert (decode(encoded(image, format)) == blocks()[..., :1]).all()


def test_sixteen_bits_of_grey_are_rounded() -> None:
    values = np.full((16, 16), 257 * 100 + 129, np.uint16)
    values[:8] -= 1
    decoded = decode(png(values, 0))
    assert (decoded[:8] == 100).all() and (decoded[8:] == 101).all()


def test_sixteen_bits_of_grey_with_a_transparent_value() -> None:
    decoded = decode(png(SIXTEEN, 0, (b"tRNS", struct.pack(">H", int(SIXTEEN[0, 0])))))
    assert (decoded[:8, :8] == 255).all()
    opaque = np.not_equal(SIXTEEN, SIXTEEN[0, 0])
    assert (decoded[opaque] == blocks()[opaque][:, :1]).all()


def test_sixteen_bits_of_colour() -> None:
    assert (decode(png(blocks().astype(np.uint16) * 257, 2)) == blocks()).all()


def test_sixteen_bits_of_colour_with_alpha() -> None:
    alpha = np.zeros((48, 64, 1), np.uint16)
    alpha[:, 32:] = 65535
    decoded = decode(png(np.concatenate([blocks().astype(np.uint16) * 257, alpha], axis=2), 6))
    assert (decoded[:, :32] == 255).all() and (decoded[:, 32:] == blocks()[:, 32:]).all()


@pytest.mark.parametrize("format", ["JPEG", "TIFF"])
def test_cmyk(format: str) -> None:
    image = Image.fromarray(blocks()).convert("CMYK")
    assert np.abs(decode(encoded(image, format)).astype(int) - blocks()).max() <= 2


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(format: str) -> None:
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250)]
    frames = [Image.new("RGB", (32, 24), colour) for colour in colours]
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
    assert decoded.shape == (24, 32, 3) and (decoded == colours[0]).all()


def test_two_pictures_in_a_jpeg() -> None:
    """As phones write them: an MPO file with the second view behind the photo."""
    second = Image.new("RGB", (64, 48))
    data = encoded(Image.fromarray(blocks()), "MPO", save_all=True, append_images=[second], quality=95, subsampling=0)
    assert np.abs(decode(data).astype(int) - blocks()).max() <= 2


def swapped_profile() -> bytes:
    """sRGB, but with the primaries of red and blue exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for i in range(int.from_bytes(data[128:132], "big")):
        entry = 132 + 12 * i
        name = bytes(data[entry : entry + 4])
        data[entry : entry + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(name, name)
    return bytes(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colour_profile_is_applied(format: str) -> None:
    options = {"PNG": {}, "TIFF": {}, "JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}[format]
    decoded = decode(encoded(blocks(), format, icc_profile=swapped_profile(), **options))
    assert np.abs(decoded.astype(int) - blocks()[..., ::-1]).max() <= 4


def linear_grey_profile() -> bytes:
    """The smallest profile of grey: values are proportional to light."""
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">I", 0),
    }
    table, body = struct.pack(">I", len(tags)), b""
    for name, value in tags.items():
        table += name + struct.pack(">II", 128 + 4 + 12 * len(tags) + len(body), len(value))
        body += value.ljust(-(-len(value) // 4) * 4, b"\0")
    size = struct.pack(">I", 128 + len(table) + len(body))
    head = size + b"\0\0\0\0\x02\x10\0\0mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">3i", 63190, 65536, 54061) + bytes(48) + table + body


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_colour_profile_of_grey(mode: str) -> None:
    image = Image.new("L", (32, 32), 55).convert(mode)  # 0.2157 of the light is 0.5 = 128 of 255 in sRGB
    decoded = decode(encoded(image, "PNG", icc_profile=linear_grey_profile()))
    assert np.abs(decoded.astype(int) - 128).max() <= 2


def test_colour_profile_with_transparency() -> None:
    decoded = decode(encoded(half_transparent("RGB"), "PNG", icc_profile=swapped_profile()))
    assert (decoded[:, :32] == 255).all()
    assert np.abs(decoded[:, 48:].astype(int) - blocks()[:, 48:, ::-1]).max() <= 4


def test_srgb_profile_changes_next_to_nothing() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode(encoded(blocks(), "PNG", icc_profile=profile))
    assert np.abs(decoded.astype(int) - blocks()).max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"\0" * 200, id="zeros"),
        pytest.param(b"x", id="one-byte"),
        pytest.param(swapped_profile()[:300], id="truncated"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="of-lab"),
    ],
)
def test_profile_that_cannot_be_used_is_ignored(mode: str, profile: bytes) -> None:
    image = Image.fromarray(blocks()).convert(mode)
    assert (decode(encoded(image, "PNG", icc_profile=profile)) == decode(encoded(image, "PNG"))).all()


def test_profile_of_colours_on_grey_is_ignored() -> None:
    image = Image.fromarray(blocks()).convert("L")
    assert (decode(encoded(image, "PNG", icc_profile=swapped_profile()))[..., 0] == np.asarray(image)).all()


def hostile_exif() -> list:
    head = b"Exif\0\0MM\0*"
    entry = struct.Struct(">HHI4s")
    ifd = lambda *entries: head + struct.pack(">IH", 8, len(entries)) + b"".join(entries) + bytes(4)  # noqa: E731
    far = entry.pack(0x010F, 2, 0xFFFFFFF0, b"\xff\xff\xff\xf0")
    return [
        pytest.param(b"Exif\0\0", id="empty"),
        pytest.param(b"Exif\0\0" + b"\xff" * 64, id="not-tiff"),
        pytest.param(head + struct.pack(">I", 0xFFFFFFF0), id="directory-outside"),
        pytest.param(head + struct.pack(">IH", 8, 0xFFFF), id="entries-missing"),
        pytest.param(ifd(far), id="value-outside"),
        pytest.param(ifd(entry.pack(0x0112, 2, 4, b"six\0")), id="orientation-is-text"),
        pytest.param(ifd(entry.pack(0x0112, 5, 1, b"\0\0\0\x08")), id="orientation-is-a-fraction"),
        pytest.param(ifd(entry.pack(0x0112, 0xEE, 1, b"\0\6\0\0")), id="unknown-type"),
        pytest.param(ifd(entry.pack(0x011A, 5, 0, bytes(4)), entry.pack(0x0128, 3, 1, bytes(4))), id="no-resolution"),
        pytest.param(
            ifd(entry.pack(0x011A, 1, 1, b"\0D"), entry.pack(0x0128, 3, 1, b"\0\2")), id="resolution-is-a-byte"
        ),
        pytest.param(ifd(entry.pack(0x8769, 4, 1, b"\0\0\0\x08")), id="directory-in-itself"),
    ]


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("data", hostile_exif())
def test_hostile_exif_is_ignored(data: bytes, format: str) -> None:
    options = {"lossless": True} if format == "WEBP" else {}
    decoded = decode(encoded(blocks(), format, exif=data, **options))
    assert (decoded == decode(encoded(blocks(), format, **options))).all()


def test_what_can_be_read_of_exif_counts_and_nothing_warns() -> None:
    far = struct.pack(">HHII", 0x010F, 2, 64, 0xFFFF)
    turned = struct.pack(">HHI4s", 0x0112, 3, 1, b"\0\6\0\0")
    data = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + far + turned + bytes(4)
    stored = encoded(np.ascontiguousarray(TURNS[6](blocks())), "PNG", exif=data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (decode(stored) == blocks()).all()
    assert not caught


def test_random_exif_is_ignored() -> None:
    """Flipped bytes of a real directory, in a JPEG: whatever it says then, the picture is read."""
    made = exif(1)
    made[0x010F] = "maker"
    made[0x011A] = 72.0
    made[0x0128] = 2
    data = encoded(blocks(), "JPEG", exif=made)
    start, length = data.index(b"Exif\0\0"), len(made.tobytes())
    random = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(data)
        for place in random.integers(start, start + length, 8):
            changed[place] = random.integers(256)
        assert decode(bytes(changed)).size == blocks().size


def test_source_kinds_agree(tmp_path: Path) -> None:
    data = encoded(blocks(), "PNG")
    path = tmp_path / "photo.jpeg"  # the suffix is not what decides
    path.write_bytes(data)
    assert photo_bytes(path) == photo_bytes(str(path)) == photo_bytes(data) == data
    assert all((read_photo(source) == blocks()).all() for source in (path, str(path), data))


def test_result_is_an_array_of_its_own() -> None:
    decoded = decode(encoded(blocks(), "PNG"))
    assert decoded.flags.owndata and decoded.flags.writeable and decoded.flags.c_contiguous


def test_filters_of_warnings_do_not_pile_up() -> None:
    data = encoded(blocks(), "PNG")
    decode(data)
    before = len(warnings.filters)
    for _ in range(5):
        decode(data)
    assert len(warnings.filters) == before


@pytest.mark.reference_data
def test_newton() -> None:
    photo = read_photo(require_reference() / "faces" / "newton.jpg")
    assert photo.shape == (1233, 1024, 3)
