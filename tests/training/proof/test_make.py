"""A whole report, as a user has it made: of a model that is not trained, so that no figure means anything."""

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.evaluation.clips import find_methods
from fantasyid_engine.training.proof.files import read_report
from fantasyid_engine.training.proof.make import make_report
from fantasyid_engine.training.proof.rows import ROWS
from fantasyid_engine.training.proof.sheets import HEAD, LARGER, TEXT, sheet
from fantasyid_engine.weights.model import save_model
from tests.integration.cases import COMMAND
from tests.training.cases import tiny_model
from tests.training.proof.cases import SETTINGS, lively_model


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("made")
    save_model(lively_model(), folder / "model")
    words = [COMMAND, "train", "report", "model", "--out", "report", "--people", "2", "--steps", "1", "--device", "cpu"]
    return folder / "report", subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_the_command_tells_where_it_is_and_what_it_found(
    made: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = made
    assert done.returncode == 0, done.stderr
    assert "fantasyid-engine: rendered no-id: 2 of 2 clips" in done.stderr.splitlines()
    assert "fantasyid-engine: shape control, rendered ours: 10 of 10 clips" in done.stderr.splitlines()
    assert "VAE: PSNR of unseen clips, dB: " in done.stdout and done.stdout.endswith("wrote report\n")


def test_the_folder_holds_everything(made: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = made
    assert sorted(path.name for path in folder.iterdir()) == [
        *("clips", "people", "people.png", "report.json", "report.md", "shape.png")
    ]
    report = read_report(folder / "report.json")
    assert (report.model, report.size, report.frames, report.steps) == ("model", 32, 9, 1)
    assert tuple(row.name for row in report.rows) == ROWS
    assert report.shape is not None and report.shape.people == 2
    assert not any(str(folder.parent) in note for note in report.notes)
    methods = find_methods([folder / "clips" / row for row in ROWS])
    assert len({tuple(clip.prompt for clip in method.clips) for method in methods}) == 1
    assert all(clip.prompt and clip.image_sha256 for clip in methods[0].clips)


def test_sheets(made: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = made
    cell = LARGER * 32
    with Image.open(folder / "people.png") as people, Image.open(folder / "shape.png") as shape:
        assert people.size == (7 * cell + TEXT, HEAD + 2 * cell)
        assert shape.size == (6 * cell, HEAD + 2 * cell)


def test_rows_of_a_sheet_are_of_one_length() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="one length"):
        sheet(["a"], [[picture], [picture, picture]], 8)


def test_without_shape_control(tmp_path: Path) -> None:
    with Engine(tiny_model()) as engine:
        report = make_report(engine, tmp_path, replace(SETTINGS, people=1, shape=False))
    assert report.shape is None and not (tmp_path / "shape.png").exists()
    assert any(note.startswith("shape control: left out") for note in report.notes)


def test_models_of_real_people_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    with (
        Engine(replace(model, render=replace(model.render, face="detect"))) as engine,
        pytest.raises(ConfigError, match="renders real people"),
    ):
        make_report(engine, tmp_path, SETTINGS)
    assert list(tmp_path.iterdir()) == []
