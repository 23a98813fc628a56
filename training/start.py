"""What a model folder is made of, as the configuration that a recipe holds."""

from pathlib import Path

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.config.render import ModelConfig, RenderConfig, TextConfig, VaeConfig
from fantasyid_engine.config.serialise import from_json_object, read_json_object
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.weights.folder import describe, model_files
from fantasyid_engine.weights.parts import read_schedule
from fantasyid_engine.weights.shards import reading
from fantasyid_engine.weights.shipped import MODELS


def model_folder(start: str) -> Path:
    """The folder of a model to start from: that of the package's by its name, any other by its path."""
    return MODELS / start if start in MINIATURES else Path(start)


def read_model_config(folder: Path) -> ModelConfig:
    """The configuration of a model folder; its weights are not read.

    Raises:
        WeightsError, ConfigError: as `load_model`.
    """
    with reading(folder):
        files = model_files(folder)
        network = describe(files)[0]
        values = read_json_object(files.config, ConfigError)
        vae_file, text_file = folder / "vae" / "config.json", folder / "text_encoder" / "config.json"
        vae, text = read_json_object(vae_file, ConfigError), read_json_object(text_file, ConfigError)
        known = {name: vae[name] for name in VaeConfig.__dataclass_fields__ if name in vae}
        names = {"dim": "d_model", "num_layers": "num_layers", "num_heads": "num_heads"}
        names |= {"head_dim": "d_kv", "mlp_dim": "d_ff"}
        encoder = {ours: text[theirs] for ours, theirs in names.items() if theirs in text}
        return ModelConfig(
            network=network,
            vae=from_json_object(VaeConfig, known, vae_file),
            text=from_json_object(TextConfig, encoder, text_file),
            schedule=read_schedule(folder),
            render=from_json_object(RenderConfig, values.get("render", {}), files.config),
        )
