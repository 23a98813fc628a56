"""Places that take no video, disks that fill up, and signals: the right exit code, and never a part of a file."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.face.pictures import avatar, portrait
from tests.integration.cases import COMMAND, CommandLine, Finished, check_line, check_refused, everything_in

CREATE, WRITE, INPUT = 73, 74, 65
OUTPUTS = ["out.mp4", "out.mov", "out"]
SIDECAR_BYTES = 3600
"""More than a sidecar has, less than a video or a picture."""
case = pytest.param


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("given") / "face.png"
    Image.fromarray(avatar(80)).save(path)
    return path


@pytest.fixture
def generate(command: CommandLine, photo: Path, tmp_path: Path) -> Callable[..., Finished]:
    """Renders one frame of noise in `tmp_path`."""
    return lambda *options, **limits: command("generate", *words(photo), *options, cwd=tmp_path, **limits)


def words(photo: Path, frames: int = 1) -> list[str | Path]:
    numbers = ["--seed", "3", "--steps", "1", "--frames", str(frames), "--device", "cpu"]
    return ["--image", photo, "--prompt", "smiles", *numbers]


# Refused before any work.


@pytest.mark.parametrize(
    ("out", "says"),
    [
        case("old.mp4", "old.mp4: it exists already; name another or --overwrite", id="exists"),
        case("folder.mp4", "folder.mp4: it is a folder; name another", id="video-is-a-folder"),
        case("full", "full: the folder is not empty; name a new one", id="folder-not-empty"),
        case("file", "file: it is a file; name a new folder, or a .mp4 or .mov file", id="folder-is-a-file"),
        case("notes.mp4", "notes.json: a file that is no sidecar has this name; name another", id="place-of-sidecar"),
        case("table.mp4", "table.json: a file that is no sidecar has this name", id="place-of-sidecar-folder"),
        case("out.avi", "out.avi: name a .mp4 or .mov file, or, without a suffix, a folder", id="suffix"),
        case("", "name a .mp4 or .mov file", id="no-name"),
        case("/", "name a .mp4 or .mov file", id="root"),
        case("file/out.mp4", "file/out.mp4: Not a directory; name another place", id="below-a-file"),
        case("file/new/out", "file/new/out: Not a directory; name another place", id="far-below-a-file"),
        case("/proc/out.mp4", "/proc/out.mp4: No such file or directory; name another place", id="read-only"),
        case("x" * 300 + ".mp4", ".mp4: File name too long; name another place", id="long-name"),
        case("x" * 235, "File name too long", id="long-name-of-the-sidecar"),
        case("a\n\x1b[31m.avi", r"a\n\x1b[31m.avi: name a .mp4", id="escapes"),
    ],
)
def test_places(generate: Callable[..., Finished], tmp_path: Path, out: str, says: str) -> None:
    for folder in ("folder.mp4", "full/inner", "table.json"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("old.mp4", "file"):
        (tmp_path / file).write_text("old")
    (tmp_path / "notes.json").write_text('{"format": "of another program"}')
    check_refused(generate("--out", out), CREATE, "cannot write", says)


@pytest.mark.parametrize("out", ["folder.mp4", "full", "file", "notes.mp4"])
def test_overwrite_replaces_no_folder_and_no_other_file(
    generate: Callable[..., Finished], tmp_path: Path, out: str
) -> None:
    for folder in ("folder.mp4", "full/inner"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "file").write_text("old")
    (tmp_path / "notes.json").write_text("[]")
    check_refused(generate("--out", out, "--overwrite"), CREATE, "cannot write", "; name a")


# Written, but not to the end.


@pytest.mark.parametrize("out", OUTPUTS)
@pytest.mark.parametrize(
    "most_bytes", [0, 700, SIDECAR_BYTES], ids=["nothing-fits", "sidecar-does-not", "video-does-not"]
)
def test_files_have_a_largest_size(generate: Callable[..., Finished], out: str, most_bytes: int) -> None:
    done = generate("--out", out, most_bytes=most_bytes)
    name = out if most_bytes == SIDECAR_BYTES else "out.json"
    check_refused(done, WRITE, f"cannot write {name}: File too large", under_way=True)


def test_old_video_stays(generate: Callable[..., Finished], tmp_path: Path) -> None:
    assert generate("--out", "out.mp4").code == 0
    done = generate("--out", "out.mp4", "--overwrite", most_bytes=SIDECAR_BYTES)
    check_refused(done, WRITE, "cannot write out.mp4: File too large", under_way=True)


@pytest.mark.parametrize("out", ["boxes.png", "boxes.jpg"])
def test_numbered_faces(command: CommandLine, tmp_path: Path, out: str) -> None:
    Image.fromarray(portrait(200)).save(tmp_path / "face.png")
    done = command("faces", "face.png", "--out", out, cwd=tmp_path, most_bytes=100)
    assert done.code == WRITE, done.stderr
    check_line(done.stderr, f"cannot write {out}: ")
    assert done.changed == []


def test_converted_weights(command: CommandLine, tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2000)}, tmp_path / "a.pt")
    done = command("weights", "convert", "a.pt", "a.safetensors", cwd=tmp_path, most_bytes=1000)
    check_refused(done, WRITE, "cannot write a.safetensors: ", "File too large")


def test_standard_output_that_takes_nothing(generate: Callable[..., Finished]) -> None:
    """The video is whole by then."""
    done = generate("--out", "out.mp4", stdout="/dev/full")
    assert done.code == WRITE, done.stderr
    check_line(done.stderr, "cannot write to standard output: No space left on device", under_way=True)
    assert done.changed == ["out.json", "out.mp4"]


def test_standard_error_that_takes_nothing(generate: Callable[..., Finished]) -> None:
    """What cannot be said changes nothing else."""
    refused = generate("--out", "out.mp4", "--seed", "-1", stderr="/dev/full")
    assert (refused.code, refused.changed) == (INPUT, [])
    done = generate("--out", "out.mp4", stderr="/dev/full")
    assert (done.code, done.changed) == (0, ["out.json", "out.mp4"])


# Full disks.

DISKS = {"full": (1, 1), "one-page": (1, 0), "few-pages": (8, 0)}
"""Pages that a disk has, and how many of them another file has taken: a sidecar takes one."""


@pytest.fixture(scope="module")
def on_disks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CommandLine, Path]]:
    """Small disks in a folder, and a command line that sees them, as no other process does."""
    page, folder = os.sysconf("SC_PAGE_SIZE"), tmp_path_factory.mktemp("disks")
    script = []
    for name, (pages, taken) in DISKS.items():
        (folder / name).mkdir()
        script.append(f'mount -t tmpfs -o size={pages * page} none "$0"/{name}')
        script.append(f'head -c {taken * page} /dev/zero > "$0"/{name}/other')
    (folder / "no-names").mkdir()
    script.append('mount -t tmpfs -o nr_inodes=1 none "$0"/no-names')
    wrap = ["unshare", "--mount", "--map-root-user", "sh", "-ec", "; ".join([*script, 'exec "$@"']), folder]
    if shutil.which("unshare") is None or subprocess.run([*wrap, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    with CommandLine(wrap) as command:
        yield command, folder


@pytest.mark.parametrize(
    ("disk", "out", "says"),
    [
        *(case("full", out, "cannot write out.json: No space left", id=f"sidecar-of-{out}") for out in OUTPUTS),
        *(case("one-page", out, f"cannot write {out}: No space left", id=f"video-{out}") for out in OUTPUTS),
        case("few-pages", "out", "cannot write out: No space left", id="third-picture"),
    ],
)
def test_disk_full(on_disks: tuple[CommandLine, Path], photo: Path, disk: str, out: str, says: str) -> None:
    command, folder = on_disks
    done = command("generate", *words(photo, frames=9), "--out", out, cwd=folder / disk)
    check_refused(done, WRITE, says, under_way=True)


def test_disk_without_room_for_a_name(on_disks: tuple[CommandLine, Path], photo: Path) -> None:
    """Known before any work."""
    command, folder = on_disks
    done = command("generate", *words(photo), "--out", "out.mp4", cwd=folder / "no-names")
    check_refused(done, CREATE, "cannot write out.mp4: No space left on device; name another place")


# Signals.

STOPS = {
    "loading": "fantasyid_engine.weights.load.Network",
    "decoding": "fantasyid_engine.engine.decode",
    "encoding": "fantasyid_engine.video.write.encode_container",
    "writing": "os.fsync",
}


SIGNALS = pytest.mark.parametrize(
    ("number", "code"), [case(signal.SIGTERM, 143, id="term"), case(signal.SIGINT, 130, id="int")]
)


@SIGNALS
@pytest.mark.parametrize("where", STOPS)
def test_signals(generate: Callable[..., Finished], where: str, number: int, code: int) -> None:
    done = generate("--out", "out.mp4", stop=(STOPS[where], number))
    check_stopped(done, code)


@pytest.mark.parametrize("where", ["fantasyid_engine.video.write.encode_pictures", "os.fsync"])
def test_signals_while_pictures_are_written(generate: Callable[..., Finished], where: str) -> None:
    check_stopped(generate("--out", "out", stop=(where, signal.SIGHUP)), 129)


def check_stopped(done: Finished, code: int) -> None:
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stdout, done.changed) == ("", [])


@SIGNALS
def test_signals_to_the_installed_command(photo: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """In the middle of a long render."""
    arguments = ["--image", photo, "--prompt", "smiles", "--seed", "3", "--steps", "1000", "--device", "cpu"]
    streams: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([COMMAND, "generate", *arguments, "--out", "out.mp4"], cwd=tmp_path, **streams) as process:
        while "reading the prompt" not in process.stderr.readline():  # what follows are the steps
            assert process.poll() is None
        process.send_signal(number)
        stdout, stderr = process.communicate()
    assert (process.returncode, stdout) == (code, ""), stderr
    assert "Traceback" not in stderr and "denoising" not in stderr, stderr
    assert everything_in(tmp_path) == {}
