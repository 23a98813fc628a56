"""Clips from the command line: a public data set's folder, filters, shards that a recipe can learn from."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.folder import write_world
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.data.manifest import read_manifest, write_manifest
from fantasyid_engine.training.data.shards import ShardedSamples
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.video.write import write_video
from fantasyid_engine.weights.model import save_model
from tests.face.plys import ply
from tests.integration.cases import CommandLine, Finished, check_refused
from tests.training.cases import tiny
from tests.training.data.filter_networks import write_red_finder
from tests.training.data.manifest_clips import clip


@pytest.fixture(scope="module")
def avatars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four clips of avatars and one of nobody, with a manifest."""
    folder = tmp_path_factory.mktemp("data")
    write_world(World(seed=3, split="test", people=4, num_frames=9), folder / "world", 4, 96)
    write_video(np.full((9, 96, 96, 3), 90, np.uint8), folder / "world" / "clips" / "empty.mp4", 8)
    names = sorted(path.stem for path in (folder / "world" / "clips").glob("*.mp4"))
    clips = [clip(key=name, video=f"clips/{name}.mp4", person=name) for name in names]
    write_manifest(folder / "world" / "manifest.jsonl", clips)
    return folder


def test_filter_keeps_people_and_says_who_fell_out(avatars: Path, command: CommandLine) -> None:
    done = command(
        *("train", "data", "filter", "world/manifest.jsonl", "--out", "report"),
        *("--faces", "avatars", "--subtitles", "gradients"),
        cwd=avatars,
    )
    assert done.code == 0, done.stderr
    kept = [clip.key for clip in read_manifest(avatars / "world" / "kept.jsonl")]
    assert kept == ["0000", "0001", "0002", "0003"]
    report = json.loads((avatars / "report" / "report.json").read_text())
    gone = [entry["key"] for entries in report["fell_out"].values() for entry in entries]
    assert report["kept"] == kept and gone == ["empty"]
    assert "| kept | 4 | |" in done.stdout


def test_build_reads_a_public_data_set(tmp_path: Path, avatars: Path, command: CommandLine) -> None:
    (tmp_path / "openvid" / "video").mkdir(parents=True)
    clip_of = (avatars / "world" / "clips" / "0000.mp4").read_bytes()
    (tmp_path / "openvid" / "video" / "one.mp4").write_bytes(clip_of)
    with (tmp_path / "openvid" / "OpenVid-1M.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        scores = ["aesthetic score", "motion score", "temporal consistency score", "camera motion"]
        rows.writerow(["video", "caption", *scores, "frame", "fps", "seconds"])
        for name in ("one.mp4", "gone.mp4"):
            rows.writerow([name, "A person talks.", 5.0, 1.0, 0.9, "static", 9, 8.0, 1.1])
    done = command("train", "data", "build", "openvid", "openvid", cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert "1 clips; 1 entries left out" in done.stdout and "gone.mp4" in done.stderr
    (found,) = read_manifest(tmp_path / "openvid" / "manifest.jsonl")
    assert found.prompt == "A person talks."


@pytest.fixture
def grey_and_red(tmp_path: Path) -> Path:
    """Two videos, vertices of both, a model, and a network that takes red squares for faces: one video has some."""
    save_model(start_model(tiny()), tmp_path / "model")
    frames = np.full((9, 768, 1280, 3), 60, np.uint8)
    (tmp_path / "clips").mkdir()
    write_video(frames, tmp_path / "clips" / "grey.mp4", 8)
    frames[:, 256:320, 512:576] = (255, 0, 0)  # 32 x 32 pixels, as the finder looks at it
    write_video(frames, tmp_path / "clips" / "red.mp4", 8)
    (tmp_path / "vertices").mkdir()
    for name in ("grey", "red"):
        (tmp_path / "vertices" / f"{name}.ply").write_bytes(ply(make_head().template, make_head().faces))
    write_red_finder(tmp_path / "red.onnx")
    return tmp_path


def prepare(folder: Path, command: CommandLine, *names: str) -> Finished:
    clips = [clip(key=name, video=f"{name}.mp4", person=name) for name in names]
    write_manifest(folder / "clips" / "manifest.jsonl", clips)
    arguments = ("train", "data", "prepare", "clips/manifest.jsonl", "--model", "model", "--faces", "red.onnx")
    return command(*arguments, "--vertices", "vertices", "--out", "shards", cwd=folder)


def test_prepare_makes_shards_for_a_model(grey_and_red: Path, command: CommandLine) -> None:
    done = prepare(grey_and_red, command, "grey", "red")
    assert done.code == 0, done.stderr
    assert "wrote shards: 1 of 2 clips" in done.stdout and "fell out: grey: no face" in done.stderr
    (sample,) = ShardedSamples(grey_and_red / "shards")
    assert sample.key == "red" and sample.frames is not None and sample.frames.shape == (9, 3, 32, 32)
    assert sample.views.shape == (1, 3, 32, 32)
    fell_out = json.loads((grey_and_red / "shards.fell-out.json").read_text())
    assert [entry["key"] for entry in fell_out] == ["grey"]


def test_prepare_without_any_usable_clip_leaves_nothing(grey_and_red: Path, command: CommandLine) -> None:
    check_refused(prepare(grey_and_red, command, "grey"), 65, "none of 1 clips can be used; the first, grey: no face")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["build", "openvid", "nowhere"], 65, "nowhere"),
        (["filter", "nowhere.jsonl", "--out", "x"], 65, "nowhere.jsonl"),
        (["filter", "world/manifest.jsonl", "--out", "x", "--faces", "nowhere.onnx"], 78, "nowhere.onnx"),
        (
            ["prepare", "world/manifest.jsonl", "--out", "x", "--model", "m", "--faces", "f", "--vertices", "v"],
            78,
            "no model folder at m",
        ),
    ],
)
def test_mistakes(avatars: Path, command: CommandLine, arguments: list[str], code: int, says: str) -> None:
    check_refused(command("train", "data", *arguments, cwd=avatars), code, says)


def test_an_unknown_data_set(avatars: Path, command: CommandLine) -> None:
    done = command("train", "data", "build", "celeb", "world", cwd=avatars)
    assert done.code == 2 and "'celeb' is not one of 'consisid', 'celebv-hq', 'openvid'" in done.stderr
