"""One stage's weights, and what moves them: parameters, AdamW, learning rate, moving average, and their whole state."""

import math
import statistics
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.utils.checkpoint import checkpoint

from fantasyid_engine.errors import ConfigError, TrainingStopped, some_of
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.network import weight_dtype
from fantasyid_engine.training.average import MovingAverage
from fantasyid_engine.training.optimiser import make_optimiser, make_schedule, trainable
from fantasyid_engine.training.parallel import accumulating, copy_into, parallelise, whole
from fantasyid_engine.training.recipe import Stage
from fantasyid_engine.training.tasks.task import Batch, Task

WINDOW, ENOUGH = 100, 20
"""Losses whose median a spike is measured by, and how many there must be."""


@dataclass(frozen=True, slots=True)
class LearnerState:
    """Everything that the next update depends on, on the CPU.

    weights, average: by parameter name; optimiser: `kind/name`; facts: numbers, as JSON.
    """

    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimiser: dict[str, Tensor]
    facts: dict[str, Any]


class Learner:
    """Trains a task. `step` counts updates.

    Matrix products run in `precision`; weights that are trained are float32, others `frozen`.

    Raises:
        ConfigError: patterns that name nothing.
    """

    def __init__(
        self,
        task: Task,
        stage: Stage,
        accelerator: Accelerator,
        *,
        parallel: Literal["ddp", "fsdp"] = "ddp",
        precision: torch.dtype = torch.float32,
        frozen: torch.dtype = torch.float32,
    ) -> None:
        self.task, self.stage, self.step = task, stage, 0
        self._accelerator, self._precision = accelerator, precision
        chosen = trainable(task, stage)
        for name, parameter in task.named_parameters():
            parameter.requires_grad_(name in chosen)
            parameter.data = parameter.data.to(torch.float32 if name in chosen else weight_dtype(name, frozen))
        gathered = None if precision == torch.float32 else precision
        self.module = parallelise(task, accelerator, parallel, gathered)
        self.parameters = trainable(task, stage)  # FSDP put others in their places
        self._optimiser = make_optimiser(self.parameters, stage.optimiser)
        self._schedule = make_schedule(self._optimiser, stage.optimiser, stage.steps)
        decay = stage.optimiser.ema_decay
        self.average = None if decay is None else MovingAverage(self.parameters, decay)
        self._losses: deque[float] = deque(maxlen=WINDOW)

    @property
    def rates(self) -> list[float]:
        """Learning rate of each group of parameters."""
        return sorted({float(rate) for rate in self._schedule.get_last_lr()})

    def update(self, batches: Sequence[Batch]) -> dict[str, float]:
        """One update from this process's share of a batch, in micro-batches.

        Returns:
            Means over all processes of what the task's loss gives, and `grad_norm` before clipping.

        Raises:
            TrainingStopped: loss or gradient are no numbers, or the loss is a spike; the weights are as they were.
        """
        count = sum(_size(batch) for batch in batches)
        means: dict[str, Tensor] = {}
        for number, batch in enumerate(batches):
            share = _size(batch) / count
            with accumulating(self.module, self._accelerator, last=number == len(batches) - 1):
                values = self._losses_of(batch)
                (share * values["loss"]).backward()
            for name, value in values.items():
                means[name] = means.get(name, torch.zeros_like(value)) + share * value.detach()
        self._check_reached()
        norm = nn.utils.clip_grad_norm_(list(self.parameters.values()), self.stage.optimiser.clip_norm)
        found = self._over_processes(means) | {"grad_norm": float(whole(norm))}
        try:
            self._check(found)
            self._optimiser.step()
        finally:
            self._optimiser.zero_grad(set_to_none=True)
        self._schedule.step()
        if self.average is not None:
            self.average.update()
        self.step += 1
        self._losses.append(found["loss"])
        return found

    @torch.no_grad()
    def measure(self, batches: Sequence[Batch]) -> dict[str, float]:
        """What the task's loss gives on `batches`, without an update; means over batches and processes."""
        means: dict[str, Tensor] = {}
        for batch in batches:
            for name, value in self._losses_of(batch).items():
                means[name] = means.get(name, torch.zeros_like(value)) + value / len(batches)
        return self._over_processes(means)

    def _losses_of(self, batch: Batch) -> dict[str, Tensor]:
        device = self._accelerator.device
        with torch.autocast(device.type, self._precision, enabled=self._precision != torch.float32):
            return self.module({name: tensor.to(device) for name, tensor in batch.items()})

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The task with averaged weights, where an average is kept."""
        if self.average is None:
            yield
        else:
            with self.average.in_place():
                yield

    def whole_weights(self) -> dict[str, Tensor]:
        """The parameters as they are now, whole, on the CPU; all processes must ask."""
        return {name: whole(parameter).clone() for name, parameter in self.parameters.items()}

    def state(self) -> LearnerState:
        """The whole state; all processes must ask."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
        # Other processes than the first get nothing to keep.
        found: dict[str, Any] = get_optimizer_state_dict(self.task, self._optimiser, options=options)
        moved: dict[str, dict[str, Tensor]] = found.get("state", {})
        return LearnerState(
            weights=self.whole_weights(),
            average={} if self.average is None else self.average.state(),
            optimiser={f"{kind}/{name}": value for name, kinds in moved.items() for kind, value in kinds.items()},
            facts={
                "step": self.step,
                "average_updates": 0 if self.average is None else self.average.updates,
                "losses": list(self._losses),
            },
        )

    def restore(self, state: LearnerState) -> None:
        """Goes on from what `state` returned, bit for bit."""
        for name, parameter in self.parameters.items():
            copy_into(parameter, state.weights[name])
        if self.average is not None:
            self.average.restore(state.average, state.facts["average_updates"])
        self.step = state.facts["step"]
        self._losses.extend(state.facts["losses"])
        self._restore_optimiser(state.optimiser)
        # The rate is a function of the step alone.
        self._schedule.last_epoch = self.step - 1
        self._schedule.step()

    def _restore_optimiser(self, saved: Mapping[str, Tensor]) -> None:
        state: dict[str, dict[str, Tensor]] = {}
        for key, value in saved.items():
            kind, name = key.split("/", 1)
            state.setdefault(name, {})[kind] = value
        mine = StateDictOptions(ignore_frozen_params=True)
        groups = get_optimizer_state_dict(self.task, self._optimiser, options=mine)["param_groups"]
        options = StateDictOptions(full_state_dict=True, strict=False)
        found: Any = {"state": state, "param_groups": groups}
        set_optimizer_state_dict(self.task, self._optimiser, found, options=options)

    def _over_processes(self, means: Mapping[str, Tensor]) -> dict[str, float]:
        stacked = torch.stack([value.float() for value in means.values()])
        values: Any = self._accelerator.reduce(stacked, reduction="mean")
        return dict(zip(means, values.tolist(), strict=True))

    def _check_reached(self) -> None:
        """At the first update: a weight that the loss does not reach would never move."""
        lost = [name for name, parameter in self.parameters.items() if parameter.grad is None] if not self.step else []
        if lost:
            raise ConfigError(
                f"stage {self.stage.name}: the loss does not reach {len(lost)} trainable parameters, {some_of(lost)}; "
                "take them out of trainable with a pattern that begins with !"
            )

    def _check(self, found: Mapping[str, float]) -> None:
        loss, norm = found["loss"], found["grad_norm"]
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise TrainingStopped(f"the loss is {loss}, the gradient's norm {norm}")
        if len(self._losses) >= ENOUGH:
            median = statistics.median(self._losses)
            if loss > self.stage.spike_factor * median:
                raise TrainingStopped(
                    f"the loss is {loss:.4g}, {loss / median:.0f} times the median of the last "
                    f"{len(self._losses)} ({median:.4g})"
                )


@contextmanager
def recomputing(task: Task) -> Iterator[None]:
    """Blocks keep their inputs alone inside, and are computed again in the backward pass."""
    blocks = [module for module in task.modules() if isinstance(module, Block)]
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _size(batch: Batch) -> int:
    return len(next(iter(batch.values())))
