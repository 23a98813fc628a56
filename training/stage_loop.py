"""One stage from its first update, or its last checkpoint, to its end."""

import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from fantasyid_engine.errors import Cancelled, TrainingStopped
from fantasyid_engine.training.checkpoints import Checkpoints, read_checkpoint
from fantasyid_engine.training.feed import Feed
from fantasyid_engine.training.learner import Learner
from fantasyid_engine.training.recipe import Stage
from fantasyid_engine.training.run_log import RunLog
from fantasyid_engine.training.tasks.task import Batch

Watch = Callable[[int, dict[str, Tensor]], None]
"""Looks at the weights of a validation: the step, and the averaged weights by name."""


@dataclass(slots=True)
class StageLoop:
    """Updates, checkpoints and validations of one stage.

    Attributes:
        learner: what is trained.
        feed: what it learns from.
        checkpoints: where its state is kept.
        accelerator: the processes.
        log: hears of everything.
        log_every: updates between lines.
        validation: batches whose loss says which checkpoint is the best.
        watch: called at each validation.
        interrupted: asked after each update; where any process says yes, all save and stop.
    """

    learner: Learner
    feed: Feed
    checkpoints: Checkpoints
    accelerator: Accelerator
    log: RunLog
    log_every: int
    validation: Sequence[Batch]
    watch: Watch
    interrupted: Callable[[], bool]
    _best: dict[str, Any] = field(default_factory=lambda: {"best": None, "best_loss": None})

    def run(self) -> None:
        """Trains to the stage's end.

        Raises:
            TrainingStopped: the loss or a gradient is no number, or a spike; the state before it is saved.
            Cancelled: it was interrupted; the state is saved.
            OutputError: a checkpoint cannot be written.
        """
        stage = self.stage
        self._resume()
        began, seen = perf_counter(), 0
        for batches in self.feed.ahead(self.learner.step):
            try:
                found = self.learner.update(batches)
            except TrainingStopped as stop:
                saved = self._save()
                raise TrainingStopped(
                    f"stage {stage.name} stopped at step {self.learner.step}: {stop}; the state before it is in "
                    f"{saved}: raise spike_factor to go past it, or delete that and lower lr to come there otherwise; "
                    "then give the same command"
                ) from None
            step = self.learner.step
            seen += stage.batch_at(step - 1)
            if step % self.log_every == 0 or step == stage.steps:
                self._tell(step, found, seen / (perf_counter() - began))
                began, seen = perf_counter(), 0
            if step % stage.validate_every == 0 or step == stage.steps:
                self._validate(step)
                began, seen = perf_counter(), 0
            if step % stage.checkpoint_every == 0 or step == stage.steps:
                self._save()
            if self._any_interrupted():
                raise Cancelled(f"interrupted at step {step} of stage {stage.name}; saved in {self._save()}")

    @property
    def stage(self) -> Stage:
        """Which stage it is."""
        return self.learner.stage

    def _resume(self) -> None:
        last = self.checkpoints.last()
        if last is not None:
            state, self._best = read_checkpoint(last)
            self.learner.restore(state)
            self.log.say(f"{self.stage.name}: going on from step {self.learner.step}")

    def _save(self) -> Path:
        state = self.learner.state()
        if self.accelerator.is_main_process:
            self.checkpoints.save(state, self._best)
        self.accelerator.wait_for_everyone()
        return self.checkpoints.path(self.learner.step)

    def _tell(self, step: int, found: dict[str, float], samples_per_s: float) -> None:
        memory = peak_memory_mib(self.accelerator.device)
        rates = self.learner.rates
        values = found | {"lr": rates[-1], "samples_per_s": samples_per_s, "memory_mib": memory}
        self.log.record(self.stage.name, step, "train", values)
        others = "".join(f"  {name} {found[name]:.4g}" for name in found if name not in ("loss", "grad_norm"))
        self.log.say(
            f"{self.stage.name}: step {step} of {self.stage.steps}  loss {found['loss']:.4g}{others}  "
            f"lr {rates[-1]:.2g}  {samples_per_s:.1f} samples/s  {memory} MiB"
        )

    def _validate(self, step: int) -> None:
        if not self.validation:
            return
        with self.learner.averaged():
            found = self.learner.measure(self.validation)
            weights = self.learner.whole_weights()
        self.log.record(self.stage.name, step, "validation", found)
        self.log.say(
            f"{self.stage.name}: step {step} validation"
            + "".join(f"  {name} {value:.4g}" for name, value in found.items())
        )
        if self._best["best_loss"] is None or found["loss"] < self._best["best_loss"]:
            self._best = {"best": step, "best_loss": found["loss"]}
            self._save()
        self.watch(step, weights)
        self.accelerator.wait_for_everyone()

    def _any_interrupted(self) -> bool:
        mine = self.interrupted()
        if self.accelerator.num_processes == 1:
            return mine
        flag: Any = torch.tensor([float(mine)], device=self.accelerator.device)
        flag = self.accelerator.reduce(flag, reduction="sum")
        return bool(flag.item())


def peak_memory_mib(device: torch.device) -> int:
    """Most memory so far: of the device, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
