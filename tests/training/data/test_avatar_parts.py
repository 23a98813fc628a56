"""Clips rendered in parts, by processes of their own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from fantasyid_engine.errors import OutputError
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data import avatar_parts
from fantasyid_engine.training.data.avatar import avatar_samples
from fantasyid_engine.training.data.avatar_parts import open_parts, part_folders, render_parts
from fantasyid_engine.training.data.sample import TrainingSample

WORLD = World(seed=0, split="train", people=9, num_frames=2)
HOW: dict[str, Any] = {"size": 16, "view_size": 16, "crop_size": 16, "views": 2, "edited_share": 0.5}
CPU = torch.device("cpu")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avatar_parts, "PART", 2)


def render(folder: Path, count: int, told: list[tuple[int, int]] | None = None) -> Sequence[TrainingSample]:
    heard = [] if told is None else told
    render_parts(folder, WORLD, count, HOW, CPU, lambda done, total: heard.append((done, total)))
    return open_parts(part_folders(folder, count))


def test_parts_are_the_clips_in_order(small_parts: None, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = render(tmp_path / "train", 5, told)
    assert [len(list(path.glob("*.tar"))) for path in part_folders(tmp_path / "train", 5)] == [1, 1, 1]
    assert told[-1] == (5, 5) and told == sorted(told)
    expected = list(avatar_samples(WORLD, 5, **HOW))
    assert [sample.key for sample in found] == [sample.key for sample in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.frames is not None and other.frames is not None
        assert torch.equal(one.frames, other.frames) and torch.equal(one.views, other.views)
    with pytest.raises(IndexError):
        found[5]


def test_parts_that_are_there_stay(small_parts: None, tmp_path: Path) -> None:
    render(tmp_path, 5)
    first, last = part_folders(tmp_path, 5)[0] / "index.json", part_folders(tmp_path, 5)[2]
    before = first.stat().st_mtime_ns
    for file in last.iterdir():
        file.unlink()
    last.rmdir()
    assert len(render(tmp_path, 5)) == 5 and first.stat().st_mtime_ns == before


def test_stopped_nothing_half_made_is_left(small_parts: None, tmp_path: Path) -> None:
    """And the processes are gone."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        render_parts(tmp_path, WORLD, 5, HOW, CPU, stop)
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_process_that_fails_says_why(small_parts: None, tmp_path: Path) -> None:
    (tmp_path / "train").write_text("a file in the way")
    with pytest.raises(OutputError, match=r"clips were not rendered: cannot .*train"):
        render(tmp_path / "train", 5)


def test_one_line_of_a_processs_own(tmp_path: Path) -> None:
    (tmp_path / "part").write_text("a file in the way")
    work = {"folder": str(tmp_path / "part"), "world": {"seed": 0, "split": "train", "people": 2, "num_frames": 2}}
    work |= {"start": 0, "count": 1, "threads": 1, "how": HOW}
    done = subprocess.run(
        [sys.executable, "-m", "fantasyid_engine.training.data.render_part"],
        input=json.dumps(work),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 73 and len(done.stderr.splitlines()) == 1 and "part" in done.stderr
