"""Batches of a stage for one process, the next one made while this one is learnt from."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.draws import generator_at, index_at
from fantasyid_engine.training.recipe import Stage
from fantasyid_engine.training.tasks.task import Batch, Task

VALIDATION = 1 << 20
"""Added to a stage's number: validation draws from streams of its own."""


@dataclass(frozen=True, slots=True)
class Feed:
    """Who takes what of each batch.

    seed, number: of the run and of the stage; rank, processes: this one, of how many.
    """

    task: Task
    stage: Stage
    samples: Sequence[TrainingSample]
    seed: int
    number: int
    rank: int
    processes: int

    def check(self) -> None:
        """Raises ConfigError where a batch cannot be shared out evenly."""
        for batch in self.stage.batches:
            if batch % self.processes:
                raise ConfigError(
                    f"stage {self.stage.name}: a batch of {batch} cannot be shared out evenly to "
                    f"{self.processes} processes; choose a multiple"
                )

    def micro_batches(self, step: int) -> list[Batch]:
        """This process's share of update `step`."""
        share = self.stage.batch_at(step) // self.processes
        first = self.stage.position_at(step) + self.rank * share
        most = self.stage.micro_batch or share
        positions = range(first, first + share)
        return [self._batch(list(positions[i : i + most]), step) for i in range(0, share, most)]

    def _batch(self, positions: Sequence[int], step: int) -> Batch:
        samples = [self.samples[index_at(self.seed, self.number, p, len(self.samples))] for p in positions]
        return self.task.batch(samples, [generator_at(self.seed, self.number, p) for p in positions], step)

    def ahead(self, start: int) -> Iterator[list[Batch]]:
        """`micro_batches` of all updates from `start` on; a thread makes the next while the caller uses one."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.micro_batches, start)
            for step in range(start, self.stage.steps):
                now = coming.result()
                if step + 1 < self.stage.steps:
                    coming = pool.submit(self.micro_batches, step + 1)
                yield now


def validation_batches(
    task: Task, samples: Sequence[TrainingSample], stage: Stage, seed: int, number: int, most: int = 64
) -> list[Batch]:
    """The first samples in batches, with the same draws at every validation."""
    size = stage.micro_batch or stage.batch_at(stage.steps - 1)
    positions = range(min(most, len(samples)))

    def make(places: Sequence[int]) -> Batch:
        generators = [generator_at(seed, number + VALIDATION, place) for place in places]
        return task.batch([samples[place] for place in places], generators, stage.steps - 1)

    return [make(positions[i : i + size]) for i in range(0, len(positions), size)]
