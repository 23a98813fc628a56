"""The parts of a model folder that are not ours: T5 and its tokenizer (transformers), VAE (diffusers), schedule.

    text_encoder/   config.json, *.safetensors        vae/         config.json, *.safetensors
    tokenizer/      as transformers stores it         scheduler/   scheduler_config.json

Loaded as our own networks are: on the meta device, then filled, every key accounted for.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.config.schema import MOST_LAYERS
from fantasyid_engine.config.serialise import from_json_object, read_json_object
from fantasyid_engine.errors import ConfigError, WeightsError, some_of
from fantasyid_engine.weights.load import fill, match_entries
from fantasyid_engine.weights.shards import Entry, component_files, read_entries

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

SHARED, TIED = "shared.weight", "encoder.embed_tokens.weight"
"""T5's two names of one weight; files have one of the two, or both."""

# What this engine's noise schedule and VAE do in one way only.
SCHEDULE_FIXED: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}
SCHEDULERS = ("CogVideoXDPMScheduler", "CogVideoXDDIMScheduler")
VAE_FIXED: dict[str, Any] = {
    "in_channels": 3,
    "invert_scale_latents": False,
    "out_channels": 3,
    "shift_factor": None,
    "use_post_quant_conv": False,
    "use_quant_conv": False,
}


def part_files(folder: Path) -> list[Path]:
    """Every file that the four parts are read from.

    Raises:
        WeightsError: one is missing, with what to do.
    """
    configs = [folder / "text_encoder" / "config.json", folder / "vae" / "config.json"]
    configs.append(folder / "scheduler" / "scheduler_config.json")
    for path in configs:
        if not path.is_file():
            raise WeightsError(f"{path} is missing: a model that renders has it; fetch the folder again")
    tokenizer = [path for path in sorted((folder / "tokenizer").glob("*")) if path.is_file()]
    if not tokenizer:
        raise WeightsError(f"{folder / 'tokenizer'} is missing or empty: fetch the folder again")
    return [*configs, *tokenizer, *component_files(folder / "text_encoder"), *component_files(folder / "vae")]


def read_schedule(folder: Path) -> ScheduleConfig:
    """The noise schedule of a model folder; raises ConfigError for one that this engine does not run."""
    path = folder / "scheduler" / "scheduler_config.json"
    values = _config_values(path, SCHEDULE_FIXED)
    if values.get("_class_name", SCHEDULERS[0]) not in SCHEDULERS:
        raise ConfigError(
            f"{path}: _class_name is {values['_class_name']!r}; this engine runs {' and '.join(SCHEDULERS)}"
        )
    # What a file leaves out would mean something else to diffusers than to us.
    needed = [*(field.name for field in fields(ScheduleConfig)), "clip_sample", "timestep_spacing"]
    missing = [name for name in needed if name not in values]
    if missing:
        raise ConfigError(f"{path} does not say {some_of(missing)}: fetch it again")
    ours = {field.name: values[field.name] for field in fields(ScheduleConfig)}
    return from_json_object(ScheduleConfig, ours, path)


def read_text_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> T5EncoderModel:
    """T5's encoder with the weights of `folder`/text_encoder.

    Raises:
        ConfigError, WeightsError: as in `load_network`.
    """
    source = folder / "text_encoder"
    values = _config_values(source / "config.json", {"model_type": "t5"})
    _check_layers(source, "num_layers", values.get("num_layers", 1))
    encoder = _on_meta(lambda: T5EncoderModel(T5Config.from_dict(values)), source)
    encoder.encoder.set_input_embeddings(encoder.shared)
    return _filled(encoder, source, device, dtype)


def read_vae(folder: Path, device: torch.device, dtype: torch.dtype) -> AutoencoderKLCogVideoX:
    """The VAE with the weights of `folder`/vae.

    Raises:
        ConfigError, WeightsError: as in `load_network`.
    """
    source = folder / "vae"
    values = _config_values(source / "config.json", VAE_FIXED)
    for name in ("scaling_factor", "norm_eps"):
        value = values.get(name, 1.0)
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ConfigError(f"{source / 'config.json'}: {name} is {value!r}; it must be a number above 0")
    _check_layers(source, "layers_per_block", values.get("layers_per_block", 1))
    blocks = values.get("block_out_channels", [])
    _check_layers(source, "the number of block_out_channels", len(blocks) if isinstance(blocks, list) else blocks)
    ratio = values.get("temporal_compression_ratio", 4)
    if type(ratio) is not int:
        raise ConfigError(f"{source / 'config.json'}: temporal_compression_ratio is {ratio!r}; it must be an integer")
    vae = _on_meta(lambda: AutoencoderKLCogVideoX.from_config(values), source)
    assert isinstance(vae, AutoencoderKLCogVideoX)
    return _filled(vae, source, device, dtype)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; raises WeightsError where transformers cannot make one of its files."""
    source = folder / "tokenizer"
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
        # Without its vocabulary a tokenizer is made all the same, and knows no word.
        vocabularies = tokenizer.vocab_files_names.values()
        if vocabularies and not any((source / name).is_file() for name in vocabularies):
            raise ValueError(f"it lacks {' or '.join(vocabularies)}")
        tokenizer("a prompt", padding="max_length", max_length=4, truncation=True)
        return tokenizer
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # transformers raises many kinds for broken files; a panic in Rust is no Exception
        raise WeightsError(f"{source} holds no tokenizer ({_reason(error)}): fetch the folder again") from None


def schedule_values(schedule: ScheduleConfig) -> dict[str, Any]:
    """The content of `scheduler_config.json`, in diffusers' names."""
    return {"_class_name": SCHEDULERS[0], **SCHEDULE_FIXED, **asdict(schedule)}


def _config_values(path: Path, fixed: dict[str, Any]) -> dict[str, Any]:
    values = read_json_object(path, ConfigError)
    for name, only in fixed.items():
        if values.get(name, only) != only:
            raise ConfigError(f"{path}: {name} is {values[name]!r}; this engine runs {only!r} only")
    return values


def _on_meta(build: Callable[[], T], source: Path) -> T:
    try:
        with torch.device("meta"):
            return build()
    except Exception as error:  # whatever a config of wrong types or sizes makes of a constructor
        raise ConfigError(f"{source / 'config.json'} describes nothing that can be built: {_reason(error)}") from None


def _check_layers(source: Path, what: str, count: Any) -> None:
    """Building a network of more takes for ever."""
    if type(count) is not int or not 1 <= count <= MOST_LAYERS:
        raise ConfigError(f"{source / 'config.json'}: {what} is {count!r}; it must be from 1 to {MOST_LAYERS}")


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _filled(module: M, source: Path, device: torch.device, dtype: torch.dtype) -> M:
    entries = read_entries(component_files(source))
    if any(entry.key == SHARED for entry in entries):
        entries = [entry for entry in entries if entry.key != TIED]

    def place(entry: Entry) -> str:
        return SHARED if entry.key == TIED else entry.key

    fill(module, match_entries(module, entries, place, source, tied=(TIED,)), device, dtype)
    return module.eval()
