"""Model folders: our own layout, and loading either layout.

config.json                                     {"format": "fantasyid-network-1", "network": {...}}
tower.safetensors  conditioner.safetensors  dit.safetensors (or shards with an index)
mesh.safetensors  manifest.json
"""

import json
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from safetensors import SafetensorError

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.config.schema import MeshConfig, NetworkConfig
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError, WeightsError
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights import released
from fantasyid_engine.weights.load import Place, build_on_meta, fill, match_entries
from fantasyid_engine.weights.manifest import verify_files, write_manifest
from fantasyid_engine.weights.shards import Entry, component_files, read_entries

FORMAT = "fantasyid-network-1"
COMPONENTS = ("tower", "conditioner", "dit")


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
        verify: compare each file with the folder's manifest first, where it has one.

    Returns:
        The network in evaluation mode, without gradients. Peak memory is its size and one mapped part of a file.

    Raises:
        WeightsError: files are missing, truncated or corrupt, or keys do not fit.
        ConfigError: the configuration is missing or describes a network that this engine does not run.
    """
    config, entries, place, mesh, files = describe(folder)
    if verify:
        verify_files(folder, [*files, mesh])
    network = build_on_meta(config, load_hierarchy(mesh, config.mesh))
    fill(network, match_entries(network, entries, place, folder), torch.device(device), dtype)
    return network.eval()


def describe(folder: Path) -> tuple[NetworkConfig, list[Entry], Place, Path, list[Path]]:
    """What a model folder holds, from configs and file headers: config, entries, where they go, mesh, weight files.

    Raises:
        WeightsError: see `load_network`.
        ConfigError: see `load_network`.
    """
    if not folder.is_dir():
        raise WeightsError(f"no model folder at {folder}")
    if (folder / "config.json").is_file():
        config = read_own_config(folder / "config.json")
        files = [file for stem in COMPONENTS for file in component_files(folder, stem)]
        return config, read_entries(files), lambda entry: entry.key, folder / "mesh.safetensors", files
    transformer, tower, mesh = released.weight_files(folder)
    entries = read_entries(transformer)
    config = released.read_config(folder, entries)
    return config, entries + read_entries(tower), released.placer(config, tower), mesh, transformer + tower


def read_own_config(path: Path) -> NetworkConfig:
    """Reads `config.json` of our own layout; raises ConfigError where it is not one."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ConfigError(f"{path} is not of the format {FORMAT}")
    return from_json_object(NetworkConfig, values.get("network"), path)


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
        for name in COMPONENTS:
            weights = {f"{name}.{key}": value for key, value in network.get_submodule(name).state_dict().items()}
            pattern = name + "{suffix}.safetensors"
            save_torch_state_dict(weights, temporary, filename_pattern=pattern, max_shard_size=max_shard_size)
        hierarchy.save(temporary / "mesh.safetensors")
        config = {"format": FORMAT, "network": to_json_object(network.config)}
        (temporary / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        write_manifest(temporary)
