"""The data folder: names that are checked, files that are whole, and nothing left over."""

import hashlib
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.errors import OutputError, WriteError
from fantasyid_engine.server.files import Files
from tests.integration.cases import everything_in

PHOTO = b"the bytes of a photo"
SHA256 = hashlib.sha256(PHOTO).hexdigest()
JOB, OTHER_JOB = "video_" + 32 * "a", "video_" + 32 * "b"
LEASE, OTHER_LEASE = 32 * "1", 32 * "2"
NAMES = ("video.mp4", "thumbnail.webp", "spritesheet.jpg")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def files(root: Path) -> Files:
    return Files(root)


def render(files: Files, lease: str = LEASE, content: bytes = b"video") -> Path:
    """What a worker leaves."""
    folder = files.open_work(lease)
    for name in (*NAMES, "preview.jpg"):
        (folder / name).write_bytes(content + name.encode())
    return folder


def test_folders_are_for_their_owner(root: Path) -> None:
    umask = os.umask(0)
    try:
        Files(root)
    finally:
        os.umask(umask)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (root, *root.iterdir())}
    assert modes == dict.fromkeys(("data", "photos", "videos", "work", "states", "faces"), 0o700)
    Files(root)


def test_a_place_for_no_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below", "x" * 300):
        with pytest.raises(OutputError, match="name another data folder"):
            Files(tmp_path / place)


def test_a_photo_is_kept_once(files: Files, root: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        assert set(threads.map(files.keep_photo, [PHOTO] * 20)) == {SHA256}
    assert files.photo(SHA256).read_bytes() == PHOTO
    assert files.photo(SHA256).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (root / "photos").iterdir()] == [SHA256]
    files.drop_photo(SHA256)
    files.drop_photo(SHA256)
    assert list((root / "photos").iterdir()) == []


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../photos", "/etc/passwd", "a/b", "x", "A" * 32, "video_", f"{JOB}/..", f"{JOB}\n", f"{SHA256}\n"],
)
def test_names_that_are_none(files: Files, root: Path, name: str) -> None:
    before = everything_in(root)
    for use in (
        files.photo,
        files.drop_photo,
        files.open_work,
        files.drop_work,
        files.preview,
        files.state,
        files.has_video,
        files.drop_job,
        lambda name: files.video(name, "video"),
        lambda name: files.publish(name, JOB),
        lambda name: files.publish(LEASE, name),
    ):
        with pytest.raises(ValueError, match="no name of a file"):
            use(name)
    assert everything_in(root) == before


@given(name=st.text(max_size=80))
@settings(max_examples=300, deadline=None)
def test_no_name_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    files = Files(tmp_path_factory.getbasetemp() / "files-of-any-name")
    for use in (files.photo, files.preview, files.state, files.has_video):
        with pytest.raises(ValueError):
            use(name)


def test_published(files: Files, root: Path) -> None:
    render(files)
    assert files.preview(LEASE).exists() and not files.has_video(JOB)
    files.publish(LEASE, JOB)
    assert files.has_video(JOB)
    for variant, name in zip(("video", "thumbnail", "spritesheet"), NAMES, strict=True):
        assert files.video(JOB, variant).read_bytes() == b"video" + name.encode()
    assert sorted(everything_in(root / "videos")) == sorted((JOB, *(f"{JOB}/{name}" for name in NAMES)))
    assert everything_in(root / "work") == {}


def test_published_again(files: Files, root: Path) -> None:
    render(files)
    files.publish(LEASE, JOB)
    with files.video(JOB, "video").open("rb") as being_read:
        render(files, OTHER_LEASE, b"new ")
        files.publish(OTHER_LEASE, JOB)
        assert being_read.read() == b"videovideo.mp4"
    assert files.video(JOB, "video").read_bytes() == b"new video.mp4"
    assert len(everything_in(root / "videos")) == 1 + len(NAMES)


@pytest.mark.parametrize("how", ["published-again", "dropped"])
def test_nobody_sees_a_video_go_piece_by_piece(files: Files, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    render(files)
    files.publish(LEASE, JOB)
    removed = []

    def rmtree(path: Path) -> None:
        removed.append(sorted(found.name for found in path.iterdir()))
        assert path.suffix == ".partial" and path != files.video(JOB, "video").parent
        original(path)

    original = shutil.rmtree
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    if how == "dropped":
        files.drop_job(JOB)
    else:
        render(files, OTHER_LEASE)
        files.publish(OTHER_LEASE, JOB)
    assert removed == [sorted(NAMES)]


def test_nothing_to_publish(files: Files) -> None:
    with pytest.raises(WriteError, match="No such file"):
        files.publish(LEASE, JOB)
    assert not files.has_video(JOB)


def test_work_is_for_one_attempt(files: Files) -> None:
    render(files)
    with pytest.raises(WriteError, match="File exists"):
        files.open_work(LEASE)
    files.drop_work(LEASE)
    files.drop_work(LEASE)
    assert list(files.open_work(LEASE).iterdir()) == []


def test_a_job_goes_with_all_it_has(files: Files, root: Path) -> None:
    for lease, job in ((LEASE, JOB), (OTHER_LEASE, OTHER_JOB)):
        render(files, lease)
        files.publish(lease, job)
        files.state(job).write_bytes(b"state")
    files.drop_job(JOB)
    files.drop_job(JOB)
    assert not files.has_video(JOB) and not files.state(JOB).exists()
    assert files.has_video(OTHER_JOB) and files.state(OTHER_JOB).exists()
    assert sorted(path.name for path in (root / "videos").iterdir()) == [OTHER_JOB]


def sweep(files: Files, **needed: Any) -> int:
    """Of a server whose jobs need nothing but what is named."""
    nothing: dict[str, Any] = {"job_ids": set(), "unfinished": set(), "photos": set(), "faces_since": 0.0}
    return files.sweep(**nothing | needed)


def test_a_sweep_takes_what_no_job_needs(files: Files, root: Path) -> None:
    for lease, job in ((LEASE, JOB), (OTHER_LEASE, OTHER_JOB)):
        render(files, lease)
        files.publish(lease, job)
        files.state(job).write_bytes(b"state")
    other = files.keep_photo(b"another photo")
    files.keep_photo(PHOTO)
    (root / "faces" / "kept.safetensors").write_bytes(b"face")
    (root / "videos" / "strange.txt").write_bytes(b"?")
    freed = sweep(files, job_ids={JOB}, unfinished={JOB}, photos={SHA256})
    assert freed == sum(5 + len(name) for name in NAMES) + len(b"state") + len(b"another photo") + 1
    assert files.has_video(JOB) and files.state(JOB).exists() and files.photo(SHA256).exists()
    assert not files.has_video(OTHER_JOB) and not files.state(OTHER_JOB).exists() and not files.photo(other).exists()
    assert (root / "faces" / "kept.safetensors").exists()
    assert [path.name for path in (root / "videos").iterdir()] == [JOB]
    assert sweep(files, job_ids={JOB}, unfinished={JOB}, photos={SHA256}) == 0
    assert sweep(files, job_ids={JOB}, photos={SHA256}) == len(b"state"), "of a job that is final"
    assert files.has_video(JOB) and not files.state(JOB).exists()


def test_a_sweep_takes_faces_that_nobody_needed_for_long(files: Files, root: Path) -> None:
    old, new = root / "faces" / "old.safetensors", root / "faces" / "new.safetensors"
    for path, used in ((old, 1000), (new, 2000)):
        path.write_bytes(b"face")
        os.utime(path, (used, used))
    assert sweep(files, faces_since=1500) == len(b"face")
    assert not old.exists() and new.exists()


def test_a_sweep_leaves_work_that_is_under_way(files: Files, root: Path) -> None:
    render(files)
    sweep(files)
    assert files.preview(LEASE).exists()
    render(files, OTHER_LEASE)
    files.publish(LEASE, JOB)
    files.drop_work(OTHER_LEASE)
    (root / "work" / LEASE).mkdir()
    (root / "work" / OTHER_LEASE).mkdir()
    sweep(files, job_ids={JOB})
    assert list((root / "work").iterdir()) == []


def test_a_sweep_at_the_start_takes_all_work(files: Files, root: Path) -> None:
    render(files)
    assert sweep(Files(root), job_ids={JOB}) > 0
    assert list((root / "work").iterdir()) == []


def test_a_sweep_takes_what_was_written_halfway(root: Path) -> None:
    files = Files(root)
    now, hour = files._opened_at, 3600
    halfway = {"before": now - 9, "under-way": now + 9, "long-ago": now - 2 * hour}
    for folder in ("photos", "states", "faces", "videos"):
        for name, changed in halfway.items():
            path = root / folder / f".{JOB}.{name}.partial"
            path.write_bytes(b"x")
            os.utime(path, (changed, changed))
    aside = root / "videos" / f".{JOB}.1234.partial"
    aside.mkdir()
    (aside / "video.mp4").write_bytes(b"12345")
    os.utime(aside, (now - 9, now - 9))
    assert sweep(files, job_ids={JOB}) == 8 + 5
    left = {path.name for path in root.rglob("*.partial")}
    assert left == {f".{JOB}.under-way.partial"}


FULL = """
import sys
from pathlib import Path
from fantasyid_engine.errors import WriteError
from fantasyid_engine.server.files import Files
import resource

files = Files(Path(sys.argv[1]))
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, most))
try:
    files.keep_photo(bytes(2000))
except WriteError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
files.keep_photo(bytes(2000))
"""


def test_a_photo_that_does_not_fit(root: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL, root], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(": File too large\n") and done.stdout.count("\n") == 1
    assert [path.stat().st_size for path in (root / "photos").iterdir()] == [2000]
