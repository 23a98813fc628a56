"""Which weights move, and how fast."""

import math
import re

import pytest
from torch import nn

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.optimiser import make_optimiser, make_schedule, trainable
from fantasyid_engine.training.recipe import OptimiserConfig
from tests.training.cases import Line, stage


def module() -> nn.Module:
    made = nn.Module()
    made.dit = nn.ModuleDict({"blocks": nn.Linear(2, 2), "injections": nn.Linear(2, 2)})
    made.tower = nn.Linear(2, 2)
    return made


def test_patterns_name_parameters_and_take_them_out_again() -> None:
    chosen = trainable(module(), stage("text", trainable=("dit.*", "!dit.injections.*")))
    assert sorted(chosen) == ["dit.blocks.bias", "dit.blocks.weight"]
    chosen = trainable(module(), stage("text", trainable=("*", "!*.bias", "tower.bias")))
    assert sorted(chosen) == ["dit.blocks.weight", "dit.injections.weight", "tower.bias", "tower.weight"]


@pytest.mark.parametrize("pattern", ["dti.*", "!dti.*"])
def test_a_pattern_that_names_nothing_is_an_error(pattern: str) -> None:
    with pytest.raises(
        ConfigError, match=re.escape(f"no parameter is called {pattern}; the first names are dit.blocks")
    ):
        trainable(module(), stage("text", trainable=("tower.*", pattern)))


def test_rates_by_pattern_and_no_decay_of_biases() -> None:
    config = OptimiserConfig(lr=1e-4, lr_of={"dit.*": 1e-3, "dit.injections.*": 1e-2}, weight_decay=0.1)
    net = module()
    optimiser = make_optimiser(dict(net.named_parameters()), config)
    found = {}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            name = next(name for name, other in net.named_parameters() if other is parameter)
            found[name] = group["lr"], group["weight_decay"]
    assert found == {
        "dit.blocks.weight": (1e-3, 0.1),
        "dit.blocks.bias": (1e-3, 0.0),
        "dit.injections.weight": (1e-2, 0.1),
        "dit.injections.bias": (1e-2, 0.0),
        "tower.weight": (1e-4, 0.1),
        "tower.bias": (1e-4, 0.0),
    }


def rates(config: OptimiserConfig, steps: int) -> list[float]:
    task = Line()
    optimiser = make_optimiser(dict(task.named_parameters()), config)
    schedule = make_schedule(optimiser, config, steps)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    return found


def test_cosine_with_restarts_starts_anew() -> None:
    found = rates(OptimiserConfig(lr=1.0, warmup_steps=10, restarts=3), 100)
    assert found[:10] == pytest.approx([i / 10 for i in range(10)])
    for begin in (10, 40, 70):
        expected = [0.5 * (1 + math.cos(math.pi * i / 30)) for i in range(30)]
        assert found[begin : begin + 30] == pytest.approx(expected, abs=1e-9)


def test_cosine_falls_once_and_constant_stays() -> None:
    once = rates(OptimiserConfig(lr=1.0, schedule="cosine", warmup_steps=0), 50)
    assert once[0] == 1 and once == sorted(once, reverse=True) and once[-1] < 0.01
    assert rates(OptimiserConfig(lr=1.0, schedule="constant", warmup_steps=5), 20)[5:] == [1.0] * 15
