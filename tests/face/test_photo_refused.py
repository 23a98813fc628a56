"""What is no photo, besides what is in the corpus: one clear error each."""

import sys
from pathlib import Path

import pytest
from PIL import Image

from fantasyid_engine.face.photo import MAX_BYTES, decode_photo, photo_bytes, read_photo
from tests.face.pictures import assert_refused, blocks, heic, png_around

NAME = "holiday.jpg"


def refused(code: str, data: bytes, *says: str) -> None:
    assert_refused(code, NAME, lambda: decode_photo(data, NAME), *says)


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
    refused("image_too_large", png_around((50_000, 50_000), 8, 2, bytes(100)), "50000 x 50000")
