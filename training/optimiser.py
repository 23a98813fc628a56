"""AdamW over the parameters that a recipe names, and its learning rate over the steps."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from diffusers.optimization import get_scheduler
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from fantasyid_engine.errors import ConfigError, some_of
from fantasyid_engine.training.recipe import OptimiserConfig, Stage


def trainable(module: nn.Module, stage: Stage) -> dict[str, nn.Parameter]:
    """Parameters of `module` that the stage's patterns name, and not those that `!` takes out.

    Raises:
        ConfigError: a pattern names nothing.
    """
    named = dict(module.named_parameters())
    chosen: set[str] = set()
    for pattern in stage.trainable:
        matching = {name for name in named if fnmatchcase(name, pattern.removeprefix("!"))}
        if not matching:
            raise ConfigError(
                f"stage {stage.name}: no parameter is called {pattern}; the first names are {some_of(list(named))}"
            )
        chosen = chosen - matching if pattern.startswith("!") else chosen | matching
    return {name: parameter for name, parameter in named.items() if name in chosen}


def make_optimiser(parameters: Mapping[str, nn.Parameter], config: OptimiserConfig) -> AdamW:
    """AdamW; parameters of one axis (biases, norms) do not decay."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((_rate(name, config), decay), []).append(parameter)
    params = [{"params": group, "lr": lr, "weight_decay": decay} for (lr, decay), group in groups.items()]
    return AdamW(params, lr=config.lr, betas=config.betas, eps=config.eps)


def make_schedule(optimiser: AdamW, config: OptimiserConfig, steps: int) -> LambdaLR:
    """The rate over `steps` updates: a linear rise, then constant, one cosine, or cosines that start anew."""
    return get_scheduler(
        config.schedule if config.schedule != "constant" else "constant_with_warmup",
        optimiser,
        num_warmup_steps=min(config.warmup_steps, steps),
        num_training_steps=steps,
        num_cycles=config.restarts if config.schedule == "cosine_with_restarts" else 1,
    )


def _rate(name: str, config: OptimiserConfig) -> float:
    matching: Sequence[float] = [rate for pattern, rate in config.lr_of.items() if fnmatchcase(name, pattern)]
    return matching[-1] if matching else config.lr
