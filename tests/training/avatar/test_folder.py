"""The world as files."""

import hashlib
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.errors import OutputError
from fantasyid_engine.evaluation.clips import read_clip
from fantasyid_engine.training.avatar.clips import World, render_takes
from fantasyid_engine.training.avatar.folder import write_world
from fantasyid_engine.video.read import read_video
from tests.integration.cases import COMMAND

WORLD = World(seed=8, split="validation", people=2, num_frames=5)


def test_photos_clips_and_prompts(tmp_path: Path) -> None:
    heard = []
    write_world(WORLD, tmp_path / "w", 3, 64, on_sample=lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    for number in range(3):
        sample, video = WORLD.sample(number), tmp_path / "w" / "clips" / f"{number:04d}.mp4"
        photo = tmp_path / "w" / "people" / f"{number:04d}.png"
        clip = read_clip(video)
        assert (clip.prompt, clip.fps) == (sample.prompt, 8)
        assert clip.image_sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
        exact = render_takes([sample.reference], 64).pictures[0].permute(1, 2, 0).numpy()
        assert (np.asarray(Image.open(photo)) == exact).all()
        frames = read_video(video).frames
        assert frames.shape == (5, 64, 64, 3)
        true = render_takes([sample.target], 64).pictures.permute(0, 2, 3, 1).numpy()
        assert np.abs(frames.astype(float) - true).mean() < 6  # H.264 is lossy


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_world(WORLD, tmp_path, 1, 64)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_command(tmp_path: Path) -> None:
    words = [COMMAND, "avatars", tmp_path / "w", "--count", "1", "--frames", "2", "--size", "32"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "fantasyid-engine: rendered 1 of 1 people\n")
    assert sorted(path.name for path in (tmp_path / "w").rglob("*.*")) == ["0000.json", "0000.mp4", "0000.png"]
    record = json.loads((tmp_path / "w" / "clips" / "0000.json").read_text())
    assert record.keys() == {"format", "prompt", "image_sha256", "fps"}


def test_odd_sizes_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [COMMAND, "avatars", tmp_path / "w", "--size", "65"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "65 is odd" in done.stderr
    assert not (tmp_path / "w").exists()
