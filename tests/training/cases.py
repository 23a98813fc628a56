"""Small recipes, samples and tasks that tests of the trainer share."""

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar import avatar_samples
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.training.recipe import OptimiserConfig, Recipe, Stage
from fantasyid_engine.training.recipe_file import read_recipe
from fantasyid_engine.training.tasks.task import Batch, Task
from fantasyid_engine.weights.model import Model

TINY = Path(__file__).with_name("tiny.toml")
CONSTANT = OptimiserConfig(lr=1e-3, schedule="constant", warmup_steps=0, ema_decay=0.9)


def tiny() -> Recipe:
    return read_recipe(str(TINY))


def stage(name: str, **changes: object) -> Stage:
    """A stage of the tiny recipe, with other values."""
    found = next(stage for stage in tiny().stages if stage.name == name)
    return replace(found, **changes)


def tiny_model() -> Model:
    return start_model(tiny())


@lru_cache(maxsize=1)
def clips() -> list[TrainingSample]:
    """Four clips of the size that the tiny recipe takes."""
    world = World(seed=0, split="train", people=4, num_frames=9)
    return list(avatar_samples(world, 4, size=32, view_size=32, crop_size=32, views=3))


def with_latents() -> list[TrainingSample]:
    """The same with latents at random."""
    generator = torch.Generator().manual_seed(5)
    shape = (3, 16, 8, 8)
    return [replace(clip, frames=None, moments=0.3 * torch.randn(shape, generator=generator)) for clip in clips()]


class Line(Task):
    """y = x w: a task small enough to know everything about."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.line = nn.Linear(width, 1, bias=False)
        self.idle = nn.Linear(width, 1)
        nn.init.ones_(self.line.weight)

    def batch(self, samples: object, generators: list[torch.Generator], step: int) -> Batch:
        return {"x": torch.stack([torch.randn(3, generator=generator) for generator in generators])}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        x = batch["x"]
        return {"loss": (self.line(x)[:, 0] - 2 * x.sum(1)).square().mean()}
