"""A new run that begins with what another one has made: the same run on another machine, or a row of Table 3.

Rows differ in the way of the face alone: they take over stages up to the first with ID tokens, others
all that they have in common, and runs that start from other weights none. Clips and latents are linked where disks can.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.recipe import DiffusionStage, Recipe, Stage, TowerStage
from fantasyid_engine.training.run import claim, fixed, read_recipe_of, result_path


def share_stages(recipe: Recipe, folder: Path, source: Path) -> list[str]:
    """Begins a run with the finished stages of another.

    Args:
        recipe: of the new run.
        folder: of the new run.
        source: a run of a recipe with the same clips and, where both start from the same, the same model but for
            conditioner and injections.

    Returns:
        Names of the stages that were taken over; none where clips alone are shared.

    Raises:
        ConfigError: the recipes have not the same clips or model, or nothing of it is made yet.
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    theirs = read_recipe_of(source)
    one_start = recipe.start == theirs.start
    for what, ours, other in (
        ("clips", _clips(recipe), _clips(theirs)),
        ("model or seed", one_start and _without_face(recipe), one_start and _without_face(theirs)),
    ):
        if ours != other:
            raise ConfigError(f"{source} has other {what} than this recipe; its stages cannot be shared")
    taken: list[str] = []
    one_face = (recipe.model.network, recipe.without) == (theirs.model.network, theirs.without)
    for number, (stage, other) in enumerate(zip(fixed(recipe)["stages"], fixed(theirs)["stages"], strict=False)):
        other_face = _has_id_tokens(recipe.stages[number]) and not one_face
        if not one_start or stage != other or other_face or not result_path(source, theirs, number).is_file():
            break
        taken.append(stage["name"])
    if not taken and not (source / "data").is_dir():
        raise ConfigError(f"{source} has neither clips nor a finished stage that this recipe has too")
    with atomic_folder(folder) as place:
        claim(place, recipe)
        (place / "stages").mkdir()
        for number in range(len(taken)):
            _link(result_path(source, theirs, number), result_path(place, recipe, number))
        if (source / "data").is_dir():
            shutil.copytree(source / "data", place / "data", copy_function=_link)
    return taken


def _has_id_tokens(stage: Stage) -> bool:
    if isinstance(stage, TowerStage):
        return stage.id_tokens
    return isinstance(stage, DiffusionStage) and stage.faces


def _clips(recipe: Recipe) -> object:
    """What clips are and how they are rendered; latents lie under the names of the weights that made them."""
    model = recipe.model
    dit, tower = model.network.dit, model.network.tower
    sides = dit.sample_height, dit.sample_width, dit.sample_frames, tower.image_size, model.render.crop_size
    return recipe.train, recipe.validation, recipe.views, recipe.avatars, *sides


def _without_face(recipe: Recipe) -> object:
    network = recipe.model.network
    model = recipe.model
    parts = network.tower, network.shape, network.mesh, replace(network.dit, injection=None)
    render = fixed(recipe)["model"]["render"]
    return *parts, model.vae, model.text, model.schedule, render, recipe.seed


def _link(source: str | Path, target: str | Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(source, target)
