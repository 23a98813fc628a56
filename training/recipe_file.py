"""Recipes as TOML files: those of the package by name, others by path.

    base = "avatar-mini"              another recipe, whose values this one changes; tables merge, all else replaces
    name = "my-model"
    begins_with = ["vae", "base"]     stages of the base, by name, that come before this recipe's own
    without = ["face_vertices"]       a row of the paper's Table 3; what it changes of a folder's model starts anew
    [model]
    preset = "avatar-mini"            the networks: a preset's, or
    folder = "models/start"           a model folder's, with its weights; "avatar-mini" is the package's
    [model.change.network.dit]        fields of `ModelConfig` that are other than a preset's
    num_layers = 8
    [train] [validation] [[stages]]   fields of `Recipe`

Paths are taken from the current folder.
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.config.render import ModelConfig
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.recipe import Recipe
from fantasyid_engine.training.start import model_folder, read_model_config

MOST_BASES = 8


def recipe_names() -> list[str]:
    """Names of the recipes in the package."""
    return sorted(file.name.removesuffix(".toml") for file in _shipped().iterdir() if file.name.endswith(".toml"))


def read_recipe(source: str) -> Recipe:
    """The recipe of that name, or in that file.

    Raises:
        ConfigError: there is none, it is no TOML, or a value is wrong: in one line that names it.
    """
    values, path = _values(source, MOST_BASES)
    model = values.pop("model", None)
    if not isinstance(model, dict) or not set(model) <= {"preset", "folder", "change"}:
        raise ConfigError(f"{path}: it needs a table [model] with preset or folder, and change alone besides")
    config = _model(model, path)
    if "folder" in model:
        values["start"] = model["folder"]
    values["model"] = to_json_object(config)
    recipe = from_json_object(Recipe, values, path)
    return replace(recipe, model=replace(config, network=ablated(config.network, recipe.without)))


def _values(source: str, bases: int) -> tuple[dict[str, Any], Path]:
    """What a recipe says, with what its bases say."""
    path = Path(source)
    named = _shipped() / f"{source}.toml"
    if path.suffix != ".toml" and named.is_file():
        text, path = named.read_text(encoding="utf-8"), Path(f"{source}.toml")
    else:
        text = _read(path)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is no TOML: {error}") from None
    base, begins_with = values.pop("base", None), values.pop("begins_with", [])
    if base is None:
        return values, path
    if not isinstance(base, str) or not bases:
        raise ConfigError(f"{path}: base must be another recipe's name or path, and bases must end somewhere")
    theirs = _values(base, bases - 1)[0]
    if begins_with:
        by_name = {stage["name"]: stage for stage in theirs.get("stages", [])}
        if not isinstance(begins_with, list) or not all(name in [*by_name] for name in begins_with):
            raise ConfigError(f"{path}: begins_with must be a list of {base}'s stages: {', '.join(by_name)}")
        values["stages"] = [by_name[name] for name in begins_with] + values.get("stages", [])
    return merged(theirs, values), path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        choice = f"; name a .toml file, or one of {', '.join(recipe_names())}"
        raise ConfigError(f"{path} cannot be read: {reason}{choice}") from None


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `change`: tables merge, unless they are of another `kind`; all else replaces."""
    made = dict(base)
    for name, value in change.items():
        old = made.get(name)
        if isinstance(old, dict) and isinstance(value, dict) and value.get("kind", old.get("kind")) == old.get("kind"):
            made[name] = merged(old, value)
        else:
            made[name] = value
    return made


def _model(model: dict[str, Any], path: Path) -> ModelConfig:
    preset, folder, change = model.get("preset"), model.get("folder"), model.get("change", {})
    if (preset is None) == (folder is None):
        raise ConfigError(f"{path}: [model] needs a preset or a folder, and not both")
    if folder is not None:
        if change:
            raise ConfigError(f"{path}: a model from a folder is as it is; leave out [model.change]")
        found = model_folder(str(folder))
        if not found.is_dir():
            raise ConfigError(f"{path}: no model folder at {folder}; make it with fantasyid-engine train init")
        return read_model_config(found)
    if preset not in MINIATURES:
        raise ConfigError(f"{path}: there is no preset {preset!r} to train from; there is {', '.join(MINIATURES)}")
    if not isinstance(change, dict):
        raise ConfigError(f"{path}: [model.change] must be a table")
    return from_json_object(ModelConfig, merged(to_json_object(MINIATURES[preset]), change), path)


def _shipped() -> Path:
    # Not by importlib.resources: of an editable installation that finds copies as old as the installation.
    return Path(__file__).with_name("recipes")


def describe_recipes() -> list[str]:
    """A line for each recipe of the package: its name and the comment it begins with."""
    names = recipe_names()
    width = max(map(len, names))
    first = {name: (_shipped() / f"{name}.toml").read_text(encoding="utf-8").splitlines()[0] for name in names}
    return [f"{name:<{width}}  {line.removeprefix('# ')}" for name, line in first.items()]
