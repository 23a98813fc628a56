"""A run's weights as a model folder that the engine loads."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.checkpoints import Checkpoints, read_checkpoint
from fantasyid_engine.training.parts import put
from fantasyid_engine.training.recipe import DiffusionStage
from fantasyid_engine.training.run import checkpoints_of, model_after, read_recipe_of, result_path
from fantasyid_engine.weights.model import save_model


def export_run(
    folder: Path,
    out: Path,
    *,
    checkpoint: Path | None = None,
    best: bool = False,
    averaged: bool = True,
    half: bool = False,
) -> str:
    """Writes what a run has made so far, whole or not at all.

    Args:
        folder: the run.
        out: the model folder to make.
        checkpoint: one of the run's; None takes what the last finished stage made, or the newest of the one under way.
        best: the checkpoint of the last stage that was begun whose loss on the validation clips was the lowest.
        averaged: the moving average of a checkpoint, where it has one, not the weights themselves.
        half: store weights as float16, but for those that stay float32: half the size.

    Returns:
        What was written: "stage identity, done", or "stage identity at step 500".

    Raises:
        ConfigError: it is no run, it has nothing to export yet, or the checkpoint is none of its own.
        WeightsError: a file of the run is missing or damaged.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    recipe = read_recipe_of(folder)
    stages = len(recipe.stages)
    done = next((n for n in range(stages) if not result_path(folder, recipe, n).is_file()), stages)
    number, taken = min(done, stages - 1), checkpoint
    if best:
        taken = _best(checkpoints_of(folder, recipe, number))
    elif checkpoint is None and done < stages:
        taken = checkpoints_of(folder, recipe, number).last()
    elif checkpoint is not None:
        number = _stage_of(checkpoint, [checkpoints_of(folder, recipe, n) for n in range(stages)])
    if taken is None:
        if not done:
            raise ConfigError(f"{folder} has nothing to export yet: no stage is done, and there is no checkpoint")
        model, said, reached = model_after(folder, recipe, done), f"stage {recipe.stages[done - 1].name}, done", done
    else:
        state, _ = read_checkpoint(taken)
        model = model_after(folder, recipe, number)
        put(model, state.average if averaged and state.average else state.weights, {})
        said, reached = f"stage {recipe.stages[number].name} at step {state.facts['step']}", number + 1
    if half:
        model.to(torch.device("cpu"), torch.float16)
    drawing = recipe.start is not None or any(isinstance(stage, DiffusionStage) for stage in recipe.stages[:reached])
    save_model(replace(model, render=replace(model.render, trained=drawing and not recipe.smoke)), out)
    return said


def _best(checkpoints: Checkpoints) -> Path:
    last = checkpoints.last()
    step = None if last is None else read_checkpoint(last)[1]["best"]
    if step is None:
        raise ConfigError(f"{checkpoints.folder} has no best checkpoint: nothing was validated yet")
    return checkpoints.path(step)


def _stage_of(checkpoint: Path, stages: Sequence[Checkpoints]) -> int:
    for number, checkpoints in enumerate(stages):
        if checkpoint.resolve().parent == checkpoints.folder.resolve():
            return number
    raise ConfigError(f"{checkpoint} is no checkpoint of this run; name a folder step-... below its checkpoints")
