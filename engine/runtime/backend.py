"""Which form of the DiT renders.

eager    plain PyTorch, `models.dit`
fused    on the kernels, `models.fused`
folded   the same, each face folded into the injections' weights for the time of a render
"""

import torch

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.kernels.dispatch import HALF, HAS_TRITON, mode
from fantasyid_engine.kernels.id_injection import folded_bytes, pays_to_fold
from fantasyid_engine.runtime.device import memory_at_hand

BACKENDS = ("eager", "fused", "folded")


def resolve_backend(name: str, config: NetworkConfig, device: torch.device, dtype: torch.dtype) -> str:
    """`auto` -> the kernels on a GPU in half precision, else eager; folded where that saves work and memory allows it.

    Args:
        name: auto, or one of `BACKENDS`.
        config: of the network, which is loaded.
        device: where it is.
        dtype: of its weights.

    Raises:
        ConfigError: `FANTASYID_KERNELS` is unknown.
    """
    if name != "auto":
        return name
    if device.type != "cuda" or dtype not in HALF or not HAS_TRITON or mode() == "torch":
        return "eager"
    dit, injection = config.dit, config.dit.injection
    assert injection is not None, "NetworkConfig refuses this"
    heads, keys = injection.num_heads, config.num_id_tokens
    taken = dit.num_injections * folded_bytes(heads, dit.dim, keys, dtype.itemsize)
    # A render needs the rest: activations, and the VAE's tiles.
    fits = 2 * taken <= memory_at_hand(device)
    return "folded" if fits and pays_to_fold(heads, injection.head_dim, dit.dim, keys) else "fused"
