"""All three networks from nothing: `fantasyid-engine train avatar-perception`."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.runtime.machine import machine, versions
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.detector import train_detector
from fantasyid_engine.training.avatar.perception.fit import Say
from fantasyid_engine.training.avatar.perception.observer import train_observer
from fantasyid_engine.training.avatar.perception.recogniser import train_recogniser
from fantasyid_engine.weights.shipped import save_shipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much of everything: people, pictures or samples, steps."""

    recogniser_people: int = 2000
    recogniser_views: int = 12
    recogniser_steps: int = 4000
    observer_samples: int = 2400
    observer_steps: int = 2200
    motions: int = 8000
    detector_samples: int = 2400
    detector_steps: int = 2400
    batch: int = 96


FULL = Budget()
SMOKE = Budget(
    recogniser_people=20,
    recogniser_views=4,
    recogniser_steps=10,
    observer_samples=10,
    observer_steps=10,
    motions=40,
    detector_samples=20,
    detector_steps=10,
    batch=16,
)
"""Passes through everything in seconds; what comes out sees nothing."""


def train_perception(folder: Path, *, budget: Budget, seed: int, say: Say, only: str | None = None) -> None:
    """Trains the networks and writes each as soon as it is there, as the package has them, and a log.

    Args:
        folder: gets `avatar_detector.safetensors`, `avatar_observer.safetensors`, `avatar_recogniser.safetensors`, and
            a log beside each.
        budget: `FULL` for the weights that ship.
        seed: of the world, the first weights and the batches.
        say: hears of progress, a line each.
        only: one of `NETWORKS`, to train that alone.

    Raises:
        OutputError: the folder cannot be written.
    """
    for name, make in NETWORKS.items():
        if only in (None, name):
            begin = perf_counter()
            network = make(budget, seed, say)
            seconds = round(perf_counter() - begin, 1)
            log = {"network": name, "seed": seed, "budget": asdict(budget), "seconds": seconds}
            log |= {"machine": machine(torch.device("cpu")), "versions": versions()}
            with atomic_file(folder / f"avatar_{name}.safetensors") as path:
                save_shipped(path, network)
            with atomic_file(folder / f"avatar_{name}.json") as path:
                path.write_text(json.dumps(log, indent=1) + "\n")
            say(f"{name}: done in {seconds:.0f} s")


def _recogniser(budget: Budget, seed: int, say: Say) -> nn.Module:
    world = World(seed=seed, split="recogniser", people=budget.recogniser_people)
    steps, views = budget.recogniser_steps, budget.recogniser_views
    return train_recogniser(world, views=views, steps=steps, batch=budget.batch, say=say)


def _observer(budget: Budget, seed: int, say: Say) -> nn.Module:
    world = World(seed=seed, split="perception", people=budget.observer_samples)
    steps, motions = budget.observer_steps, budget.motions
    return train_observer(
        world, samples=budget.observer_samples, motions=motions, steps=steps, batch=budget.batch, say=say
    )


def _detector(budget: Budget, seed: int, say: Say) -> nn.Module:
    world = World(seed=seed, split="perception", people=budget.detector_samples)
    return train_detector(
        world, samples=budget.detector_samples, steps=budget.detector_steps, batch=budget.batch, say=say
    )


NETWORKS: dict[str, Callable[[Budget, int, Say], nn.Module]] = {
    "observer": _observer,
    "recogniser": _recogniser,
    "detector": _detector,
}
