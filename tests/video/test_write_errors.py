"""What `write_video` refuses, and that of what goes wrong half-way nothing stays."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import Cancelled, InputError, OutputError, WriteError
from fantasyid_engine.video import encode
from fantasyid_engine.video.write import write_video
from tests.video.pictures import moving, noise

NAMES = ["x.mp4", "x.mov", "x"]


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(np.zeros((2, 4, 4, 3), np.float32), id="float"),
        pytest.param(np.zeros((2, 4, 4, 3), np.int16), id="signed"),
        pytest.param(np.zeros((2, 4, 4, 3), ">u2"), id="byte-order"),
        pytest.param(np.zeros((4, 4, 3), np.uint8), id="one-picture"),
        pytest.param(np.zeros((2, 3, 4, 4), np.uint8), id="channels-first"),
        pytest.param(np.zeros((2, 4, 4, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((0, 4, 4, 3), np.uint8), id="no-frames"),
        pytest.param(np.zeros((2, 0, 4, 3), np.uint8), id="no-rows"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_frames_of_another_kind(name: str, frames: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"frames must be uint8 or uint16 \[F, H, W, 3\]"):
        write_video(frames, tmp_path / name, 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("fps", "metadata", "message"),
    [(0, {}, "fps must be"), (-8, {}, "fps must be"), (8, {"a": "b\0c"}, "NUL"), (8, {"a": "\ud800"}, "surrogates")],
)
def test_other_arguments(fps: int, metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(moving(), tmp_path / "x.mp4", fps, metadata=metadata)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 3), (1, 1)])
def test_odd_sizes_have_no_420(height: int, width: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"even width and height, not {width} x {height}; .* PNG") as error:
        write_video(np.zeros((2, height, width, 3), np.uint8), tmp_path / "x.mp4", 8)
    assert error.value.code == "size_unsupported"
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("old")
    for name in ("x.avi", "full", "full/file/x.mp4", "full/file/x"):
        with pytest.raises(OutputError, match="cannot write"):
            write_video(moving(1), tmp_path / name, 8)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "full", tmp_path / "full" / "file"]


def test_what_an_encoder_refuses(tmp_path: Path) -> None:
    """An error of FFmpeg that is no OSError; H.264 ends at 16384 pixels."""
    with pytest.raises(WriteError, match=r"cannot write .*x\.mp4: it cannot be encoded: ") as error:
        write_video(np.zeros((1, 2, 20000, 3), np.uint8), tmp_path / "x.mp4", 8)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frame", [0, 2])
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_stopped_half_way(
    error: type[BaseException], name: str, frame: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error that stopped it comes out."""
    (tmp_path / "x.mp4").write_text("old")
    frames, function = moving(), "to_picture" if name == "x" else "to_yuv"
    convert = getattr(encode, function)

    def stop(picture: Any, *rest: str) -> Any:
        if np.array_equal(picture, frames[frame]):
            raise error("stop")
        return convert(picture, *rest)

    monkeypatch.setattr(encode, function, stop)
    with pytest.raises(error, match="stop"):
        write_video(frames, tmp_path / name, 8)
    assert list(tmp_path.iterdir()) == [tmp_path / "x.mp4"]
    assert (tmp_path / "x.mp4").read_text() == "old"


WRITE = """
import json, resource, sys
from pathlib import Path
from fantasyid_engine.errors import OutputError
from fantasyid_engine.video.write import write_video
from tests.video.pictures import noise

path, frames, *limits = sys.argv[1:]
for limit in limits:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), resource.RLIM_INFINITY))
    try:
        write_video(noise(int(frames)), Path(path), 8, metadata={"comment": "c" * 5000})
        said = "written"
    except OutputError as error:
        said = str(error)
    print(json.dumps([said, sorted(p.name for p in Path(path).parent.rglob("*"))]))
"""


@pytest.mark.parametrize("name", NAMES)
def test_file_size_limit(name: str, tmp_path: Path) -> None:
    """Wherever a write stops, no file is seen."""
    whole, path = tmp_path / "whole" / name, tmp_path / "limited" / name
    write_video(noise(6), whole, 8, metadata={"comment": "c" * 5000})
    size = max(p.stat().st_size for p in (whole.iterdir() if name == "x" else [whole]))
    limits = [0, 1, 40, *range(1000, size, size // 20), size - 5500, size - 100, size - 1, size]
    *short, enough = subprocess.run(
        [sys.executable, "-c", WRITE, path, "6", *map(str, limits)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [json.loads(line) for line in short] == [[f"cannot write {path}: File too large", []]] * (len(limits) - 1)
    assert json.loads(enough)[0] == "written"
    if name != "x":
        assert path.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("filled_kib", [0, 56, 64])
def test_disk_full(name: str, filled_kib: int, tmp_path: Path) -> None:
    """On a small disk that only a process of its own sees."""
    mount = [
        "unshare",
        "--mount",
        "--map-root-user",
        "sh",
        "-ec",
        'mount -t tmpfs -o size=64k none "$0"; "$@"',
        tmp_path,
    ]
    if shutil.which("unshare") is None or subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    fill = ["sh", "-ec", f'head -c {filled_kib}K /dev/zero > "$0"/other; "$@"', tmp_path]
    write = [sys.executable, "-c", WRITE, tmp_path / name, "90", str(2**30)]
    done = subprocess.run([*mount, *fill, *write], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [f"cannot write {tmp_path / name}: No space left on device", ["other"]]
