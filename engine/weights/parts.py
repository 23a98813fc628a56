"""The parts of a model folder that are not ours: T5 and its tokenizer (transformers), VAE (diffusers), schedule.

    text_encoder/   config.json, *.safetensors        vae/         config.json, *.safetensors
    tokenizer/      as transformers stores it         scheduler/   scheduler_config.json

Loaded as our own networks are: on the meta device, then filled, every key accounted for.
"""

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from torch import nn
from transformers import AutoTokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.config.serialise import from_json_object, read_json_object
from fantasyid_engine.errors import ConfigError, WeightsError
from fantasyid_engine.weights.load import fill, match_entries
from fantasyid_engine.weights.shards import component_files, read_entries

M = TypeVar("M", bound=nn.Module)
T = TypeVar("T")

TIED = "encoder.embed_tokens.weight"
"""T5's second name of `shared.weight`; files have one of the two, or both."""

# What this engine's noise schedule and VAE do in one way only.
SCHEDULE_FIXED: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": True,
    "timestep_spacing": "trailing",
    "trained_betas": None,
}
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
    ours = {field.name: values[field.name] for field in fields(ScheduleConfig) if field.name in values}
    return from_json_object(ScheduleConfig, ours, path)


def read_text_encoder(folder: Path, device: torch.device, dtype: torch.dtype) -> T5EncoderModel:
    """T5's encoder with the weights of `folder`/text_encoder.

    Raises:
        ConfigError, WeightsError: as in `load_network`.
    """
    source = folder / "text_encoder"
    values = _config_values(source / "config.json", {"model_type": "t5"})
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
    vae = _on_meta(lambda: AutoencoderKLCogVideoX.from_config(values), source)
    assert isinstance(vae, AutoencoderKLCogVideoX)
    return _filled(vae, source, device, dtype)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model folder; raises WeightsError where transformers cannot make one of its files."""
    source = folder / "tokenizer"
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers and tokenizers raise many kinds for broken files
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{source} holds no tokenizer: {reason}") from None


def schedule_values(schedule: ScheduleConfig) -> dict[str, Any]:
    """The content of `scheduler_config.json`, in diffusers' names."""
    return {"_class_name": "CogVideoXDPMScheduler", **SCHEDULE_FIXED, **asdict(schedule)}


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
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(f"{source / 'config.json'} describes nothing that can be built: {reason}") from None


def _filled(module: M, source: Path, device: torch.device, dtype: torch.dtype) -> M:
    entries = [entry for entry in read_entries(component_files(source)) if entry.key != TIED]
    fill(module, match_entries(module, entries, lambda entry: entry.key, source, tied=(TIED,)), device, dtype)
    return module.eval()
