"""Checkpoints of a stage: whole folders, the last few and the best.

step-00000500/   weights.safetensors  average.safetensors  optimiser.safetensors  state.json
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.training.learner import LearnerState

FORMAT = "fantasyid-checkpoint-1"
TENSORS = ("weights", "average", "optimiser")


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Checkpoints of one stage in `folder`."""

    folder: Path
    keep_last: int

    def save(self, state: LearnerState, extra: dict[str, Any]) -> Path:
        """Writes a checkpoint, whole or not at all, and takes away those that are neither recent nor the best.

        `extra["best"]` is the step of the best so far, or None.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.path(state.facts["step"])
        if not path.exists():
            with atomic_folder(path) as place:
                for name in TENSORS:
                    save_file(_contiguous(getattr(state, name)), place / f"{name}.safetensors")
                record = {"format": FORMAT, "learner": state.facts, **extra}
                (place / "state.json").write_text(json.dumps(record, indent=1) + "\n")
        found = self.all()
        best = None if extra["best"] is None else self.path(extra["best"])
        for old in found[: -self.keep_last]:
            if old != best:
                shutil.rmtree(old)
        return path

    def path(self, step: int) -> Path:
        """Where the checkpoint after so many updates is."""
        return self.folder / f"step-{step:08d}"

    def all(self) -> list[Path]:
        """Checkpoints, oldest first."""
        return sorted(self.folder.glob("step-????????"))

    def last(self) -> Path | None:
        """The newest one."""
        found = self.all()
        return found[-1] if found else None


def read_checkpoint(path: Path) -> tuple[LearnerState, dict[str, Any]]:
    """A checkpoint's state, and what was saved with it.

    Raises:
        WeightsError: it is missing, damaged or of another format.
    """
    record = read_json_object(path / "state.json", WeightsError)
    if record.get("format") != FORMAT:
        raise WeightsError(f"{path} is no checkpoint of {FORMAT}; name a folder step-... of a run")
    try:
        tensors = {name: load_file(path / f"{name}.safetensors") for name in TENSORS}
        learner = record.pop("learner")
        return LearnerState(**tensors, facts=learner), record
    except (OSError, SafetensorError, KeyError, TypeError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise WeightsError(f"{path} cannot be read: {reason}; delete it to go on from the one before") from None


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
