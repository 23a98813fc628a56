"""Whether a file could be made: tried, for permissions alone do not tell; and what is said when writing stops."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from safetensors import SafetensorError

from fantasyid_engine.atomic import fsync, try_to_create, writing
from fantasyid_engine.errors import WriteError


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
def test_what_stops_writing_names_the_file(error: Exception) -> None:
    with pytest.raises(WriteError, match=r"^cannot write a/b: No space left on device$"), writing(Path("a/b")):
        raise error


def test_synced_are_files_and_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file"):
        fsync(path)
        assert synced.pop() == path.stat().st_ino
    with pytest.raises(FileNotFoundError):
        fsync(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["x.mp4", "new/folder/x.mp4", "old", ".hidden"])
def test_leaves_nothing_behind(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text("old")
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        try_to_create(path)
    assert [path.name for path in tmp_path.iterdir()] == ["old"] and (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        pytest.param("file/x", errno.ENOTDIR, id="below-a-file"),
        pytest.param("file/new/x", errno.ENOTDIR, id="far-below-a-file"),
        pytest.param("x" * 250, errno.ENAMETOOLONG, id="long-name"),
    ],
)
def test_impossible_places(name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as error:
        try_to_create(tmp_path / name)
    assert error.value.errno == code
    assert list(tmp_path.rglob("*")) == [tmp_path / "file"]


@pytest.mark.parametrize("mode", [0o555, 0o000])
@pytest.mark.parametrize("name", ["x", "new/x"])
def test_a_folder_that_may_not_be_written_in(name: str, mode: int) -> None:
    """In another process that can give up the rights of the superuser, from a folder that it may write in."""
    code = """
import os, sys
from pathlib import Path
from fantasyid_engine.atomic import try_to_create
if os.getuid() == 0:
    os.setuid(65534)
try_to_create(Path("here"))
try:
    try_to_create(Path(sys.argv[1]))
except PermissionError:
    print("refused")
"""
    with tempfile.TemporaryDirectory() as outer:  # that of pytest lets nobody else in
        cwd, folder = Path(outer, "cwd"), Path(outer, "folder")
        for path, rights in ((Path(outer), 0o755), (cwd, 0o777), (folder, mode)):
            path.mkdir(exist_ok=True)
            path.chmod(rights)
        command = [sys.executable, "-c", code, folder / name]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
        folder.chmod(0o700)
        assert done.stdout == "refused\n"
        assert sorted(Path(outer).rglob("*")) == [cwd, folder]
