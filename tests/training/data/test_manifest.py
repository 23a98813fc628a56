"""Clips, and the file that lists them: what is kept, what is refused and in which words."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.training.data.manifest import Clip, read_manifest, video_path, write_manifest
from tests.training.data.manifest_clips import clip, refused


def line(**changed: Any) -> bytes:
    values = {**dataclasses.asdict(clip()), **changed}
    return json.dumps({name: value for name, value in values.items() if value != "left out"}).encode() + b"\n"


def test_read_as_written(tmp_path: Path) -> None:
    clips = [
        clip(),
        clip(key="b", frames=49, start=7, box=(1.5, -2.0, 30.0, 40.25)),
        clip(key="C_-9", prompt='Zeile 1\nzwei "3"\t\u2028\U0001f600', person="Ann", video="a b/c'd/é.mp4"),
        clip(key="0" * 200, prompt=""),
    ]
    path = tmp_path / "new" / "manifest.jsonl"
    assert write_manifest(path, iter(clips)) == 4
    assert read_manifest(path) == clips
    assert len(path.read_bytes().splitlines()) == 4
    assert [file.name for file in path.parent.iterdir()] == ["manifest.jsonl"]
    assert write_manifest(path, []) == 0 and read_manifest(path) == []


def test_video_in_the_folder(tmp_path: Path) -> None:
    assert video_path(tmp_path, clip(video="a/b.mp4")) == tmp_path / "a" / "b.mp4"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("key", key) for key in ("", "a/b", "..", ".a", "-a", "a b", "a.b", "ä", "a\n", "a" * 201)),
        *(("video", v) for v in ("", ".", "/a.mp4", "../a.mp4", "a/../b.mp4", "a//b", "./a", "a\\b", "C:/a", "a\nb")),
        *(("start", start) for start in (-1, True, 10**9)),
        *(("frames", frames) for frames in (0, -3, True, 10**9)),
        *(("prompt", prompt) for prompt in ("a" * 20_001, "\ud83d")),
        *(("person", person) for person in ("", "a" * 201, "\udc80")),
        ("source", ""),
        *(("box", (0.0, 0.0, *sides)) for sides in ((0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0), (float("inf"), 1.0))),
    ],
)
def test_unfit_values(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"^Clip\.{field} .*must be|half a char|must have at most") as caught:
        clip(**{field: value})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (line(start="3"), "start: Input should be a valid integer, not '3'"),
        (line(start=1.0), "start:"),
        (line(frames=0), "Clip.frames is 0; it must be an integer from 1 to"),
        (line(frames="left out"), "frames: Field required"),
        (line(colour="red"), "colour: Unexpected"),
        (line(box=[1, 2, 3]), "box.3: Field required"),
        (line(box=[1, 2, 3, None]), "box.3: Input should be a valid number, not None"),
        (line(video="../a.mp4"), "Clip.video is '../a.mp4'; it must be a path with slashes within"),
        (line(**{"a\nb\x1b[2J": 1}), r"a\nb\x1b[2J: Unexpected"),
        (line(start="\n\x1b"), r"not '\n\x1b'"),
        (b"\n", "it is no JSON object"),
        (b"[1, 2]\n", "it is no JSON object"),
        (b'{"key": "\xff"}\n', "it is no JSON object"),
        (b"[" * 5000, "it is no JSON object"),
        (b'{"key": ' + b"1" * 5000 + b"}", "it is no JSON object"),
        (b"x" * (1 << 19), "it has more than 256 KiB"),
    ],
)
def test_bad_lines(data: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(line() + data)
    assert says in refused("manifest_invalid", f"{path} line 2: ", read_manifest, path)


def test_one_key_twice(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(line() + line(key="b") + line())
    assert "line 3: key 'a' is that of line 1" in refused("manifest_invalid", str(path), read_manifest, path)
    before = path.read_bytes()
    refused("manifest_invalid", "line 2", write_manifest, path, [clip(), clip()])
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_no_file(tmp_path: Path) -> None:
    assert "No such file" in refused("manifest_invalid", "x.jsonl", read_manifest, tmp_path / "x.jsonl")
    assert "directory" in refused("manifest_invalid", str(tmp_path), read_manifest, tmp_path)
    with pytest.raises(OutputError):
        write_manifest(tmp_path, [clip()])


def test_stopped_while_written(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"

    def clips() -> Any:
        yield clip()
        raise InputError("x", "stop")

    refused("x", "stop", write_manifest, path, clips())
    assert not list(tmp_path.iterdir())


def test_a_clip_is_fixed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        clip().key = "b"  # pyright: ignore[reportAttributeAccessIssue]
    assert clip() == Clip(**dataclasses.asdict(clip()))
