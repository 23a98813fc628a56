"""What a photo becomes besides what the corpus shows; what cannot become one is in `test_photo_refused.py`."""

import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from fantasyid_engine.face.photo import decode_photo, photo_bytes, read_photo
from tests.face.pictures import SRGB_XYZ, blocks, encoded, exif, matrix_profile, png, stored
from tests.goldens import require_reference

EXCHANGED = matrix_profile(*SRGB_XYZ[::-1])
"""The colour profile of sRGB with red and blue exchanged."""


def decode(data: bytes) -> np.ndarray:
    return decode_photo(data, "photo.bin")


def test_sixteen_bits_of_grey_are_rounded() -> None:
    values = np.full((16, 16), 257 * 100 + 129, np.uint16)
    values[:8] -= 1
    decoded = decode(png(values, 16, 0))
    assert (decoded[:8] == 100).all() and (decoded[8:] == 101).all()


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
    image = Image.fromarray(blocks())
    image.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 32, axis=1).repeat(48, axis=0)))
    decoded = decode(encoded(image, "PNG", icc_profile=EXCHANGED))
    assert (decoded[:, :32] == 255).all()
    assert np.abs(decoded[:, 32:].astype(int) - blocks()[:, 32:, ::-1]).max() <= 4


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"\0" * 200, id="zeros"),
        pytest.param(b"x", id="one-byte"),
        pytest.param(EXCHANGED[:300], id="truncated"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="of-lab"),
    ],
)
def test_profile_that_cannot_be_used_is_ignored(mode: str, profile: bytes) -> None:
    image = Image.fromarray(blocks()).convert(mode)
    assert (decode(encoded(image, "PNG", icc_profile=profile)) == decode(encoded(image, "PNG"))).all()


def hostile_exif() -> list:
    head = b"Exif\0\0MM\0*"
    entry = struct.Struct(">HHI4s")

    def ifd(*entries: bytes) -> bytes:
        return head + struct.pack(">IH", 8, len(entries)) + b"".join(entries) + bytes(4)

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
    turned_blocks = encoded(stored(6), "PNG", exif=data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert (decode(turned_blocks) == blocks()).all()
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
