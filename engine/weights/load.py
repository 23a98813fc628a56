"""Filling a network from files: meta device -> safetensors -> target dtype and device, one tensor at a time.

Every key of every file ends as loaded or known-dead, and every weight of the network is found; otherwise nothing is
loaded and one `WeightsError` counts and names what is wrong.
"""

from collections.abc import Callable, Collection
from pathlib import Path

import torch
from torch import nn

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.errors import ConfigError, WeightsError, some_of
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network, weight_dtype
from fantasyid_engine.weights.released_keys import Dead
from fantasyid_engine.weights.shards import Entry, read_tensors

FLOATS = ("F64", "F32", "F16", "BF16")
"""What weights may be stored as, in safetensors' names."""

Place = Callable[[Entry], str | Dead | None]
"""Where an entry goes: a name in the network's state dict, nowhere for a known reason, or None for unknown."""


def build_on_meta(config: NetworkConfig, hierarchy: MeshHierarchy, source: Path) -> Network:
    """The network of `source` without memory for its weights; the mesh tables are real.

    Raises:
        ConfigError: sizes that no tensor can have.
    """
    try:
        with torch.device("meta"):
            return Network(config, hierarchy)
    except (RuntimeError, OverflowError) as error:
        raise ConfigError(f"{source}: a network of these sizes cannot be built: {str(error).splitlines()[0]}") from None


def match_entries(
    network: nn.Module, entries: list[Entry], place: Place, source: Path, tied: Collection[str] = ()
) -> dict[str, Entry]:
    """Entry of each weight of `network`, by the weight's name; `tied` are names of weights that have another name too.

    Raises:
        WeightsError: keys that are missing, unknown, or of another shape or type: its `keys` list them all.
    """
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items() if name not in tied}
    found: dict[str, Entry] = {}
    unknown, misshapen, mistyped = [], [], []
    for entry in entries:
        name = place(entry)
        if isinstance(name, Dead):
            continue
        if name is None or name not in expected:
            unknown.append(entry.key)
        elif entry.shape != expected[name]:
            misshapen.append(f"{entry.key} {list(entry.shape)} instead of {list(expected[name])}")
            expected.pop(name)
        elif entry.dtype not in FLOATS:
            mistyped.append(f"{entry.key} {entry.dtype}")
            expected.pop(name)
        else:
            found[name] = entry
            expected.pop(name)
    problems = {"missing": sorted(expected), "unknown": unknown, "wrongly shaped": misshapen}
    problems[f"of a type other than {', '.join(FLOATS)}"] = mistyped
    problems = {what: names for what, names in problems.items() if names}
    if problems:
        text = "; ".join(f"{len(names)} {what}: {some_of(names)}" for what, names in problems.items())
        raise WeightsError(f"{source} does not fit this network: {text}", problems)
    return found


def fill(network: nn.Module, entries: dict[str, Entry], device: torch.device, dtype: torch.dtype) -> None:
    """Replaces the meta tensors of `network` by the entries' values, and moves its tables to `device`.

    Weights become `dtype`, except those that stay float32 (see `weight_dtype`).
    """
    names = {(entry.path, entry.key): name for name, entry in entries.items()}
    for entry, tensor in read_tensors(list(entries.values())):
        name = names[entry.path, entry.key]
        _set(network, name, tensor.to(device, weight_dtype(name, dtype), copy=True))
    for module in network.modules():
        for name, table in module.named_buffers(recurse=False):
            module.register_buffer(name, table.to(device), persistent=name not in module._non_persistent_buffers_set)


def _set(network: nn.Module, name: str, value: torch.Tensor) -> None:
    path, _, last = name.rpartition(".")
    module = network.get_submodule(path)
    if last in module._parameters:
        module.register_parameter(last, nn.Parameter(value, requires_grad=False))
    else:
        module.register_buffer(last, value)
