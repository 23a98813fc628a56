"""The authors' folder layout.

    transformer_ema/ or transformer/   config.json, *.safetensors (DiT, abstractor, vertex net, reducer, injection)
    face_encoder/                      EVA02_CLIP_L_336_psz14_s6B.safetensors, mesh.safetensors

Where both transformers are there the first wins. `weights convert` makes the two files of `face_encoder` from the
authors' `.pt` and `transform.pkl`. The number of layers and of injections is read from the keys. Networks of other
widths than the released one say so in a `fantasyid` section of `transformer/config.json` (`tower`, `conditioner`,
`injection`, `mesh`: fields of the config classes of those names).
"""

import re
import shlex
from dataclasses import fields
from pathlib import Path
from typing import Any

from fantasyid_engine.config.schema import DiTConfig, NetworkConfig
from fantasyid_engine.config.serialise import from_json_object, read_json_object
from fantasyid_engine.errors import ConfigError, WeightsError
from fantasyid_engine.weights.load import Place
from fantasyid_engine.weights.released_keys import Dead, dead_row, our_name
from fantasyid_engine.weights.shards import Entry, ModelFiles, component_files

TRANSFORMERS = ("transformer_ema", "transformer")
TOWER_STEM = "EVA02_CLIP_L_336_psz14_s6B"

# Options of diffusers' CogVideoX transformer that this engine has one way of doing.
FIXED: dict[str, Any] = {
    "activation_fn": "gelu-approximate",
    "attention_bias": True,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "norm_elementwise_affine": True,
    "ofs_embed_dim": None,
    "patch_bias": True,
    "patch_size_t": None,
    "timestep_activation_fn": "silu",
}


def model_files(folder: Path) -> ModelFiles:
    """The files of a folder in the authors' layout, which holds one of `TRANSFORMERS`.

    Raises:
        WeightsError: one is missing, with what to do.
        ConfigError: the transformer's config is missing.
    """
    transformer = next(folder / name for name in TRANSFORMERS if (folder / name).is_dir())
    config = transformer / "config.json"
    if not config.is_file():
        raise ConfigError(f"{config} is missing: fetch the folder again")
    dit, tower = component_files(transformer), component_files(folder / "face_encoder", TOWER_STEM)
    mesh = folder / "face_encoder" / "mesh.safetensors"
    if not mesh.is_file():
        raise WeightsError(
            f"{mesh} is missing; make it from the authors' assets/transform.pkl: "
            f"fantasyid-engine weights convert transform.pkl {shlex.quote(str(mesh))}"
        )
    return ModelFiles(config=config, dit=dit, tower=tower, mesh=mesh)


def read_config(path: Path, entries: list[Entry]) -> NetworkConfig:
    """Config of the network that the transformer's `config.json` and its keys describe.

    Raises:
        ConfigError: the file is missing or unreadable, or names an option that this engine does not run.
        WeightsError: layers and injections do not go together.
    """
    values = read_json_object(path, ConfigError)
    for name, only in FIXED.items():
        if values.get(name, only) != only:
            raise ConfigError(f"{path}: {name} is {values[name]!r}; this engine runs {only!r} only")

    layers = _count(entries, r"transformer_blocks\.(\d{1,4})\.")
    injections = _count(entries, r"layer_attention\.(\d{1,4})\.")
    if not layers or not injections or layers % injections:
        raise WeightsError(
            f"{path.parent} has {layers} layers and {injections} injections, numbered from 0; "
            "there must be one injection after each k-th layer"
        )
    ours = values.get("fantasyid", {})
    injection = ours.get("injection", {}) if isinstance(ours, dict) else None
    if not isinstance(injection, dict):
        raise ConfigError(f"{path}: fantasyid and its injection must be JSON objects")
    dit = {field.name: values[field.name] for field in fields(DiTConfig) if field.name in values}
    dit |= {"num_layers": layers, "injection": injection | {"interval": layers // injections}}
    others = {name: value for name, value in ours.items() if name != "injection"}
    return from_json_object(NetworkConfig, others | {"dit": dit}, path)


def _count(entries: list[Entry], pattern: str) -> int:
    """Modules that are numbered from 0 without gaps; 0 where they are not."""
    numbers = {int(match[1]) for entry in entries if (match := re.match(pattern, entry.key))}
    return len(numbers) if numbers == set(range(len(numbers))) else 0


def placer(config: NetworkConfig) -> Place:
    """Where each of the authors' keys goes."""

    def place(entry: Entry) -> str | Dead | None:
        return dead_row(entry.key, config.tower.num_layers) or our_name(entry.key)

    return place
