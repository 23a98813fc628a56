"""A recipe's model, whole, and the weights that its stages made, put into it.

Weights go by the names of their parts: `tower.*`, `conditioner.*`, `dit.*`, `shape.*`, `text_encoder.*`, `vae.*`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.errors import ConfigError, WeightsError, some_of
from fantasyid_engine.runtime.device import DTYPES
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.avatar.mesh import avatar_hierarchy, fit_to_avatars
from fantasyid_engine.training.avatar.words import make_tokenizer
from fantasyid_engine.training.recipe import Recipe
from fantasyid_engine.training.row import as_row
from fantasyid_engine.training.start import model_folder
from fantasyid_engine.weights.model import Model, load_model
from fantasyid_engine.weights.untrained import untrained_model

FORMAT = "fantasyid-stage-1"


def start_model(recipe: Recipe) -> Model:
    """What the first stage begins with, on the CPU.

    Raises:
        WeightsError, ConfigError: the folder to start from cannot be loaded, or is of another network than the recipe.
    """
    if recipe.start is None:
        theirs: dict[str, Any] = {}
        if recipe.avatars:
            theirs = {"hierarchy": avatar_hierarchy(recipe.model.network.mesh), "tokenizer": make_tokenizer()}
        model = untrained_model(recipe.name, recipe.model, seed=recipe.seed, **theirs)
        if recipe.avatars:
            fit_to_avatars(model)
        return model
    source = model_folder(recipe.start)
    model = load_model(source, dtype=DTYPES[recipe.frozen])
    found, wanted = model.network.config, recipe.model.network
    if found == wanted:
        return model
    if ablated(found, recipe.without) != wanted:
        raise ConfigError(
            f"{recipe.start} holds another network than this recipe; make it with fantasyid-engine train init"
        )
    return as_row(model, wanted, source, recipe.seed)


def named_parts(model: Model) -> dict[str, nn.Module]:
    """The parts of a model that a stage can train."""
    network = model.network
    parts = {"tower": network.tower, "conditioner": network.conditioner, "dit": network.dit}
    if network.shape is not None:
        parts["shape"] = network.shape
    return parts | {"text_encoder": model.text_encoder, "vae": model.vae}


def put(model: Model, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Puts weights of a stage in their places; those of heads that only training has are left out.

    Raises:
        WeightsError: a weight is of no such model.
    """
    places = {
        f"{part}.{name}": parameter
        for part, module in named_parts(model).items()
        for name, parameter in module.named_parameters()
    }
    parts = {name.split(".")[0] for name in places}
    unknown = [name for name in weights if name not in places and name.split(".")[0] in parts]
    if unknown:
        raise WeightsError(f"these weights are of another model: {some_of(unknown)}")
    with torch.no_grad():
        for name, value in weights.items():
            if name in places:
                places[name].data = places[name].data.to(value.dtype).copy_(value)
    if "scaling_factor" in facts:
        model.vae.register_to_config(scaling_factor=facts["scaling_factor"])


def write_result(path: Path, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Writes what a stage made; raises OutputError where it cannot."""
    with atomic_file(path) as place:
        tensors = {name: value.contiguous() for name, value in weights.items()}
        save_file(tensors, place, metadata={"format": FORMAT, "facts": json.dumps(dict(facts))})
        place.chmod(0o644)


def read_result(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_result` wrote.

    Raises:
        WeightsError: the file is damaged or of another format.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            return {name: file.get_tensor(name) for name in list(file.keys())}, json.loads(metadata["facts"])
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} cannot be read: {reason}; delete it to train that stage again") from None
