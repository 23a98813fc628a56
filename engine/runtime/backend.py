"""Which form of the DiT renders, and who runs its ops.

eager    plain PyTorch, `models.dit`
fused    on the kernels, `models.fused`
folded   the same, each face folded into the injections' weights for the time of a render
"""

import math
from typing import Literal

import torch

from fantasyid_engine.config.schema import DiTConfig, NetworkConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.kernels.dispatch import COMPILES, HALF, mode
from fantasyid_engine.kernels.id_injection import can_fold, folded_bytes, pays_to_fold
from fantasyid_engine.runtime.device import memory_at_hand

BACKENDS = ("eager", "fused", "folded")
ACTIVATIONS = 16
"""An estimate: tensors of all tokens and channels at once (h, n, q, k, v, the 4 times wider feed-forward), and room."""


def resolve_kernels(device: torch.device) -> Literal["torch", "triton"]:
    """Who runs ops that have both: `triton` or `torch`.

    Raises:
        ConfigError: `FANTASYID_KERNELS` is unknown.
    """
    wanted = mode()
    here = device.type == "cuda" and COMPILES if wanted == "auto" else wanted == "triton"
    return "triton" if here else "torch"


def resolve_backend(
    name: str, config: NetworkConfig, device: torch.device, dtype: torch.dtype, *, faces: int = 1
) -> str:
    """`auto` -> the kernels on a GPU in half precision, else eager; folded where that saves work and memory allows it.

    Args:
        name: auto, or one of `BACKENDS`.
        config: of the network, which is loaded.
        device: where it is.
        dtype: of its weights.
        faces: sets of ID tokens that a render injects.

    Raises:
        ConfigError: `FANTASYID_KERNELS` is unknown, or faces of this network are too many tokens to be folded.
    """
    keys, dit, injection = config.num_id_tokens, config.dit, config.dit.injection
    assert injection is not None, "NetworkConfig refuses this"
    kernels = resolve_kernels(device)
    if name == "folded" and not can_fold(keys):
        raise ConfigError(f"backend folded: a face is {keys} tokens here, too many to fold; take fused")
    if name != "auto":
        return name
    if device.type != "cuda" or dtype not in HALF or kernels == "torch":
        return "eager"
    taken = faces * dit.num_injections * folded_bytes(injection.num_heads, dit.dim, keys, dtype.itemsize)
    fits = taken + _activations(dit, dtype) <= memory_at_hand(device)
    return "folded" if fits and pays_to_fold(injection.num_heads, injection.head_dim, dit.dim, keys) else "fused"


def _activations(dit: DiTConfig, dtype: torch.dtype) -> int:
    """Bytes of the largest render's, with guidance."""
    tokens = math.prod(dit.sample_grid) + dit.max_text_seq_length
    return ACTIVATIONS * 2 * tokens * dit.dim * dtype.itemsize
