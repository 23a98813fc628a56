"""Outputs that are refused before any work."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fantasyid_engine.errors import OutputError
from fantasyid_engine.video.write import check_output


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("name", ["x.mp4", "x.MOV", "x", "new/folder/x.mp4", "new/folder/x", "empty", ".hidden.mp4"])
def test_leaves_nothing_behind(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / name)
    assert everything_in(tmp_path) == [tmp_path / "empty"]


def test_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_output(Path("x.mp4"))
    check_output(Path("new/x"))
    assert everything_in(tmp_path) == []


@pytest.mark.parametrize("name", ["x.avi", "x.mp4.txt", "frames.v2", "x.png"])
def test_unknown_suffix(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"name a \.mp4 or \.mov file, or, without a suffix, a folder"):
        check_output(tmp_path / name)


@pytest.mark.parametrize("path", [Path(), Path("/")])
def test_no_name(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"name a \.mp4"):
        check_output(path)


def test_existing_file(tmp_path: Path) -> None:
    (tmp_path / "x.mp4").write_text("old")
    with pytest.raises(OutputError, match=r"x\.mp4: it exists already; name another or --overwrite"):
        check_output(tmp_path / "x.mp4")
    check_output(tmp_path / "x.mp4", overwrite=True)
    assert (tmp_path / "x.mp4").read_text() == "old"


@pytest.mark.parametrize("overwrite", [False, True])
def test_existing_things_that_stay(overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "full" / "x").mkdir(parents=True)
    before = everything_in(tmp_path)
    for name, why in [("file", "it is a file"), ("folder.mp4", "it is a folder"), ("full", "is not empty")]:
        with pytest.raises(OutputError, match=f"{name}.*{why}"):
            check_output(tmp_path / name, overwrite=overwrite)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize(
    ("path", "why"),
    [("file/x.mp4", "Not a directory"), ("file/new/x", "Not a directory"), (f"{'x' * 250}.mp4", "too long")],
    ids=["below-a-file", "far-below-a-file", "long-name"],
)
def test_impossible_places(path: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=why) as error:
        check_output(tmp_path / path)
    assert "\n" not in str(error.value) and "name another place" in str(error.value)
    assert everything_in(tmp_path) == [tmp_path / "file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc, where not even the superuser writes")
def test_place_that_is_not_writable_in_spite_of_permissions() -> None:
    with pytest.raises(OutputError, match=r"cannot write /proc/new/x\.mp4: "):
        check_output(Path("/proc/new/x.mp4"))


@pytest.mark.parametrize(("mode", "name"), [(0o555, "x.mp4"), (0o555, "new/x"), (0o000, "x.mp4")])
def test_place_without_permission(mode: int, name: str) -> None:
    """In another process that can give up the rights of the superuser, where the tests have them."""
    code = """
import os, sys
from pathlib import Path
from fantasyid_engine.errors import OutputError
from fantasyid_engine.video.write import check_output
if os.getuid() == 0:
    os.setuid(65534)
try:
    check_output(Path(sys.argv[1]))
except OutputError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as outer:  # that of pytest lets nobody else in
        Path(outer).chmod(0o755)
        folder = Path(outer, "folder")
        folder.mkdir()
        folder.chmod(mode)
        done = subprocess.run([sys.executable, "-c", code, folder / name], capture_output=True, text=True, check=True)
        folder.chmod(0o700)
        assert done.stdout == f"cannot write {folder / name}: Permission denied; name another place\n"
        assert everything_in(folder) == []
