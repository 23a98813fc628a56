"""A run's weights as a model folder that the engine loads."""

from dataclasses import replace
from pathlib import Path

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.checkpoints import read_checkpoint
from fantasyid_engine.training.parts import put
from fantasyid_engine.training.run import checkpoints_of, model_after, read_recipe_of, result_path
from fantasyid_engine.weights.model import save_model


def export_run(folder: Path, out: Path, *, checkpoint: Path | None = None, averaged: bool = True) -> str:
    """Writes what a run has made so far, whole or not at all.

    Args:
        folder: the run.
        out: the model folder to make.
        checkpoint: of the stage under way; None takes the newest, or what the last finished stage made.
        averaged: the moving average of that checkpoint, where it has one, not the weights themselves.

    Returns:
        What was written: "stage identity, done", or "stage identity at step 500".

    Raises:
        ConfigError: it is no run, it has nothing to export yet, or the checkpoint is of a stage that is over.
        WeightsError: a file of the run is missing or damaged.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    recipe = read_recipe_of(folder)
    stages = len(recipe.stages)
    done = next((n for n in range(stages) if not result_path(folder, recipe, n).is_file()), stages)
    model = model_after(folder, recipe, done)
    newest = None if done == stages else checkpoints_of(folder, recipe, done).last()
    if checkpoint is not None and (newest is None or checkpoint.resolve().parent != newest.resolve().parent):
        raise ConfigError(f"{checkpoint} is no checkpoint of the stage under way; leave it out for the finished ones")
    taken = checkpoint or newest
    if taken is None and not done:
        raise ConfigError(f"{folder} has nothing to export yet: no stage is done, and there is no checkpoint")
    said = f"stage {recipe.stages[done - 1].name}, done"
    if taken is not None:
        state, _ = read_checkpoint(taken)
        put(model, state.average if averaged and state.average else state.weights, {})
        said = f"stage {recipe.stages[done].name} at step {state.facts['step']}"
    save_model(replace(model, render=replace(model.render, trained=True)), out)
    return said
