import os
from pathlib import Path

import pytest

from fantasyid_engine.face.source import name_of, read_source
from tests.face.pictures import assert_refused


def read(source: str | Path | bytes) -> bytes:
    return read_source(source, "photo", 1 << 20, "missing", "too_large")


def test_reads_a_path_a_string_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a photo ü.bin"
    path.write_bytes(b"abc")
    link = tmp_path / "link"
    link.symlink_to(path)
    assert read(path) == read(str(path)) == read(link) == read(b"abc") == b"abc"


def test_names_of_sources() -> None:
    assert name_of(b"", "photo") == "the photo file"
    assert name_of("a\nforged line", "photo") == "a\\nforged line"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        pytest.param("absent.jpg", "does not exist", id="absent"),
        pytest.param("absent/photo.jpg", "does not exist", id="absent-folder"),
        pytest.param("folder", "is a folder", id="folder"),
        pytest.param("pipe", "is no regular file", id="pipe"),
        pytest.param("loop", "cannot be opened", id="link-to-itself"),
        pytest.param("file/photo.jpg", "cannot be opened", id="below-a-file"),
        pytest.param("n" * 300, "cannot be opened", id="name-too-long"),
        pytest.param("https://example.com/photo.jpg", "does not exist", id="address"),
        pytest.param("new\nline", "does not exist", id="line-break"),
        pytest.param("\x1b[31mred", "does not exist", id="escape-sequence"),
        pytest.param("\udcff", "does not exist", id="not-utf8"),
    ],
)
def test_what_is_no_file(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    path = f"{tmp_path}/{name}"
    shown = name_of(path, "photo")
    assert_refused("missing", shown, lambda: read(path), says, "give the path of a photo file")


def test_null_character(tmp_path: Path) -> None:
    assert_refused("missing", "a\\x00b", lambda: read("a\0b"), "cannot be opened")


def test_device() -> None:
    assert_refused("missing", "/dev/zero", lambda: read("/dev/zero"), "no regular file")


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulated, as the superuser may read everything."""
    path = tmp_path / "photo.jpg"
    path.touch()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert_refused("missing", str(path), lambda: read(path), "Permission denied")


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_limit(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"

    def source(size: int) -> Path | bytes:
        path.write_bytes(bytes(size))
        return path if kind == "path" else bytes(size)

    assert len(read(source(1 << 20))) == 1 << 20
    name = str(path) if kind == "path" else "the photo file"
    assert_refused("too_large", name, lambda: read(source((1 << 20) + 1)), "more than 1 MiB")
