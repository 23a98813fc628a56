"""Weights that lie in the package: of small networks beside the code that uses them, and whole miniature models."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fantasyid_engine.errors import WeightsError

PACKAGE = "fantasyid_engine"
MODELS = Path(__file__).with_name("models")
"""Model folders of our own layout, by the presets' names."""
Net = TypeVar("Net", bound=nn.Module)


def load_shipped(name: str, network: Net) -> Net:
    """Fills `network` from a file of the package, float32, in eval mode, without gradients.

    Args:
        name: the file below the package, as `face/avatar_detector.safetensors`.
        network: what the file was saved from.

    Raises:
        WeightsError: the file is missing, damaged or of another network: the installation is broken.
    """
    try:
        with as_file(files(PACKAGE) / name) as path:
            tensors = load_file(path)
        _fill(network, {key: tensor.float() for key, tensor in tensors.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{name} of the package cannot be loaded: {reason}; install the package again") from None
    network.eval().requires_grad_(False)
    return network


def save_shipped(path: Path, network: nn.Module) -> None:
    """Writes a network's weights, float16 but for the statistics of batch norms, for `load_shipped`."""
    tensors = {
        key: tensor.detach().to("cpu", torch.float32 if "running" in key else torch.float16).contiguous()
        for key, tensor in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    save_file(tensors, path)
    path.chmod(0o644)  # the library makes files that nobody else can read


def _fill(network: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    counters = {k: v for k, v in network.state_dict().items() if k.endswith("num_batches_tracked")}
    network.load_state_dict(tensors | counters)
