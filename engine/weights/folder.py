"""Model folders: our own layout, and loading either layout.

config.json                                     {"format": "fantasyid-network-1", "network": {...}}
tower.safetensors  conditioner.safetensors  dit.safetensors (or shards with an index)
shape.safetensors                               only where the network has a shape regressor
mesh.safetensors  manifest.json
"""

import json
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.config.schema import MeshConfig, NetworkConfig
from fantasyid_engine.config.serialise import from_json_object, read_json_object, to_json_object
from fantasyid_engine.errors import ConfigError, WeightsError
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights import released
from fantasyid_engine.weights.load import Place, build_on_meta, fill, match_entries
from fantasyid_engine.weights.manifest import verify_files, write_manifest
from fantasyid_engine.weights.shards import Entry, ModelFiles, component_files, read_entries, reading

FORMAT = "fantasyid-network-1"
COMPONENTS = ("tower", "conditioner", "dit")
SHAPE = "shape"
"""The component that not every network has."""


def load_network(
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.bfloat16,
    verify: bool = True,
) -> Network:
    """Loads the network of a model folder, in the authors' layout or our own.

    Args:
        folder: the model folder.
        device: where the weights go.
        dtype: of all floating-point weights but those that stay float32.
        verify: first compare each file that is read with the folder's manifest, where it has one.

    Returns:
        The network in evaluation mode, without gradients. Peak memory is its size and one mapped part of a file.

    Raises:
        WeightsError: files are missing, truncated or corrupt, or keys do not fit.
        ConfigError: the configuration is missing or describes a network that this engine does not run.
    """
    files = model_files(folder)
    if verify:
        verify_files(folder, list(files))
    return read_network(folder, files, torch.device(device), dtype)


def read_network(folder: Path, files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Network:
    """See `load_network`; `files` are those of `folder`, verified."""
    config, entries, place = describe(files)
    network = build_on_meta(config, load_hierarchy(files.mesh, config.mesh), files.config)
    fill(network, match_entries(network, entries, place, folder), device, dtype)
    return network.eval()


def model_files(folder: Path) -> ModelFiles:
    """The files of a model folder, in the authors' layout or our own.

    Raises:
        WeightsError: the folder or a file is missing, with what to do.
        ConfigError: the folder's config is missing, or of no known format.
    """
    with reading(folder):
        if not folder.is_dir():
            raise WeightsError(
                f"{folder} is a file; name its model folder" if folder.exists() else f"no model folder at {folder}"
            )
    if any((folder / name).is_dir() for name in released.TRANSFORMERS):
        return released.model_files(folder)
    config, mesh = folder / "config.json", folder / "mesh.safetensors"
    values = read_json_object(config, ConfigError) if config.is_file() else {}
    if values.get("format") != FORMAT:
        raise ConfigError(f"{folder} is no model folder: it has neither transformer/ nor a config.json of {FORMAT}")
    if not mesh.is_file():
        raise WeightsError(f"{mesh} is missing: fetch the folder again")
    tower, conditioner, dit = (component_files(folder, stem) for stem in COMPONENTS)
    network = values.get("network")
    has_shape = isinstance(network, dict) and network.get(SHAPE) is not None
    shape = component_files(folder, SHAPE) if has_shape else []
    return ModelFiles(config=config, dit=conditioner + dit + shape, tower=tower, mesh=mesh)


def describe(files: ModelFiles) -> tuple[NetworkConfig, list[Entry], Place]:
    """The config of a model, the tensors in its files, and where they go; reads configs and file headers only.

    Raises:
        WeightsError: see `load_network`.
        ConfigError: see `load_network`.
    """
    entries = read_entries(files.dit)
    if files.mesh.parent != files.config.parent:  # the authors' layout
        config = released.read_config(files.config, entries)
        return config, entries + read_entries(files.tower), released.placer(config)
    network = read_json_object(files.config, ConfigError).get("network")
    config = from_json_object(NetworkConfig, network, files.config)
    return config, entries + read_entries(files.tower), lambda entry: entry.key


def load_hierarchy(path: Path, config: MeshConfig) -> MeshHierarchy:
    """Reads a mesh hierarchy; raises WeightsError where it is missing, corrupt or not the one that `config` names."""
    try:
        hierarchy = MeshHierarchy.load(path)
        hierarchy.check(config)
        return hierarchy
    except (ValueError, OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is no mesh hierarchy for this model: {error}") from None


def save_network(network: Network, hierarchy: MeshHierarchy, folder: Path, *, max_shard_size: str = "5GB") -> None:
    """Writes a model folder of our own layout, whole or not at all.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    with atomic_folder(folder) as temporary:
        write_network(network, hierarchy, temporary, {}, max_shard_size=max_shard_size)
        write_manifest(temporary)


def write_network(
    network: Network, hierarchy: MeshHierarchy, folder: Path, more: dict[str, Any], *, max_shard_size: str = "5GB"
) -> None:
    """Writes the files of a network into `folder`, without a manifest; `more` goes into its config.json."""
    for name in COMPONENTS if network.shape is None else (*COMPONENTS, SHAPE):
        weights = {f"{name}.{key}": value for key, value in network.get_submodule(name).state_dict().items()}
        pattern = name + "{suffix}.safetensors"
        save_torch_state_dict(weights, folder, filename_pattern=pattern, max_shard_size=max_shard_size)
    hierarchy.save(folder / "mesh.safetensors")
    config = {"format": FORMAT, "network": to_json_object(network.config)} | more
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
