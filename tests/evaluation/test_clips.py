import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.clips import CLIP_FORMAT, Clip, find_methods, read_clip, row_names
from fantasyid_engine.video.write import write_video


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def rows(*paths: Path) -> dict[str, list[str]]:
    return {method.name: [clip.path.name for clip in method.clips] for method in find_methods(paths)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("ours/b.mp4", "ours/a.mov", "ours/a.json", "ours/.hidden.mp4", "ours/c/frame_0000.png", "one.mp4"):
        touch(tmp_path / name)
    touch(tmp_path / "theirs" / "A.MP4")
    touch(tmp_path / "render" / "frame_0000.png")
    (tmp_path / "empty").mkdir()
    return tmp_path


def test_folders_are_rows_and_loose_videos_one(place: Path) -> None:
    found = rows(place / "ours", place / "one.mp4", place / "theirs", place / "render")
    assert found == {"ours": ["a.mov", "b.mp4", "c"], "videos": ["one.mp4", "render"], "theirs": ["A.MP4"]}


def test_a_written_folder_of_pictures_is_one_video(tmp_path: Path) -> None:
    write_video(np.zeros((2, 8, 8, 3), np.uint8), tmp_path / "render", 8)
    assert rows(tmp_path / "render") == {"videos": ["render"]}


def test_rows_of_like_names_are_told_apart() -> None:
    assert row_names([Path("a/out"), Path("b/out"), None]) == ["a/out", "b/out", "videos"]
    assert row_names([None, Path("videos")]) == ["videos", "videos 2"]
    assert row_names([Path("a\x1b[31m")]) == [r"a\x1b[31m"]


@pytest.mark.parametrize(
    ("names", "code", "says"),
    [
        (["nowhere.mp4"], "video_missing", "nowhere.mp4 does not exist"),
        (["empty"], "video_missing", "empty holds no video"),
        (["ours/a.json"], "video_unsupported", "a.json is no video"),
        (["one.mp4", "one.mp4"], "video_twice", "one.mp4 was named more than once"),
        (["ours", "ours/b.mp4"], "video_twice", "b.mp4 was named more than once"),
        (["ours", "theirs/../ours"], "video_twice", "was named more than once"),
    ],
)
def test_refused(place: Path, names: list[str], code: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        find_methods([place / name for name in names])
    assert caught.value.code == code


def record(**changes: Any) -> dict[str, Any]:
    return {
        "format": "fantasyid-render-1",
        "request": {"prompt": "nods"},
        "inputs": {"image_sha256": "00ff"},
        "output": {"fps": 12},
    } | changes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (json.dumps(record()), ("nods", "00ff", 12)),
        (json.dumps(record(request={"prompt": "  "}, output={"fps": -1})), (None, "00ff", None)),
        (json.dumps(record(request=[1], inputs=None, output={"fps": "8"})), (None, None, None)),
        (json.dumps(record(format="other")), (None, None, None)),
        ("{", (None, None, None)),
        ("[]", (None, None, None)),
        ("\x00\xff", (None, None, None)),
    ],
)
def test_sidecar(tmp_path: Path, content: str, told: tuple[Any, ...]) -> None:
    path = tmp_path / "v.mp4"
    path.with_suffix(".json").write_text(content)
    assert read_clip(path) == Clip(path, *told)


def test_no_sidecar(tmp_path: Path) -> None:
    assert read_clip(tmp_path / "v.mp4") == Clip(tmp_path / "v.mp4", None, None, None)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ({"prompt": "nods", "image_sha256": "ab", "fps": 8}, ("nods", "ab", 8)),
        ({"prompt": "nods"}, ("nods", None, None)),
        ({"prompt": 5, "image_sha256": [], "fps": 0}, (None, None, None)),
        ({"request": {"prompt": "nods"}}, (None, None, None)),
    ],
    ids=["all", "prompt", "nonsense", "another-format's-place"],
)
def test_sidecar_of_a_video_from_elsewhere(tmp_path: Path, known: dict[str, Any], told: tuple[Any, ...]) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"format": CLIP_FORMAT} | known))
    clip = read_clip(tmp_path / "a.mp4")
    assert (clip.prompt, clip.image_sha256, clip.fps) == told
