"""Checkpoints on disk: whole, few, and readable."""

from pathlib import Path

import pytest
import torch

from fantasyid_engine.errors import OutputError, WeightsError
from fantasyid_engine.training.checkpoints import Checkpoints, read_checkpoint
from fantasyid_engine.training.learner import LearnerState


def state(step: int) -> LearnerState:
    value = torch.full((2,), float(step))
    facts = {"step": step, "average_updates": step, "losses": [0.1, 1 / 3]}
    return LearnerState({"a.b": value}, {"a.b": value + 1}, {"exp_avg/a.b": value + 2}, facts)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    path = Checkpoints(tmp_path, 2).save(state(7), {"best": None, "best_loss": None})
    found, extra = read_checkpoint(path)
    assert path.name == "step-00000007"
    assert found.facts == state(7).facts and extra["best"] is None
    assert torch.equal(found.weights["a.b"], torch.full((2,), 7.0))
    assert torch.equal(found.average["a.b"], torch.full((2,), 8.0))
    assert torch.equal(found.optimiser["exp_avg/a.b"], torch.full((2,), 9.0))


def test_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 2)
    for step in range(1, 7):
        checkpoints.save(state(step), {"best": 2 if step >= 2 else None, "best_loss": 0.1})
    assert [path.name[-1] for path in checkpoints.all()] == ["2", "5", "6"]
    assert checkpoints.last() == checkpoints.path(6)


def test_saving_a_step_again_leaves_it(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, 2)
    checkpoints.save(state(3), {"best": None, "best_loss": None})
    checkpoints.save(state(3), {"best": None, "best_loss": None})
    assert len(checkpoints.all()) == 1


def test_unfinished_folders_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / ".step-00000009.abc.partial").mkdir()
    assert Checkpoints(tmp_path, 2).last() is None


@pytest.mark.parametrize("damage", ["state.json", "weights.safetensors", "optimiser.safetensors"])
def test_damage_is_one_line(tmp_path: Path, damage: str) -> None:
    path = Checkpoints(tmp_path, 2).save(state(1), {"best": None, "best_loss": None})
    (path / damage).write_bytes(b"{")
    with pytest.raises(WeightsError, match="cannot be read") as error:
        read_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot write"):
        Checkpoints(tmp_path / "file", 2).save(state(1), {"best": None, "best_loss": None})
