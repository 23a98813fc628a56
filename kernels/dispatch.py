"""Which of the two runs an op: its Triton kernel or its plain-torch reference.

FANTASYID_KERNELS=auto     Triton on a CUDA device for float16 and bfloat16, and for float32 in a face's float32 part
                  triton   Triton everywhere; on a CPU that takes Triton's interpreter (TRITON_INTERPRET=1)
                  torch    the references everywhere

In an export everything is a reference, so that plain operators are written.
"""

import importlib.util
import os
import shutil

import torch
from torch import Tensor

from fantasyid_engine.errors import ConfigError

VARIABLE = "FANTASYID_KERNELS"
MODES = ("auto", "triton", "torch")
HAS_TRITON = importlib.util.find_spec("triton") is not None
COMPILES = HAS_TRITON and bool(os.environ.get("CC") or any(map(shutil.which, ("cc", "gcc", "clang"))))
"""Triton compiles its launchers with a C compiler. Looked for once: ops ask in every step."""
HALF = (torch.float16, torch.bfloat16)


def mode() -> str:
    """What `FANTASYID_KERNELS` says.

    Raises:
        ConfigError: it is none of `MODES`.
    """
    value = os.environ.get(VARIABLE) or "auto"
    if value not in MODES:
        raise ConfigError(f"{VARIABLE} is {value!r}; it must be one of {', '.join(MODES)}")
    return value


def wants_triton(*tensors: Tensor) -> bool:
    """Whether an op of the DiT runs as a Triton kernel: in auto, on half-precision tensors without a gradient.

    Raises:
        ConfigError: `FANTASYID_KERNELS` is unknown, or says triton where it cannot run.
    """
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors):
        return False
    return _wants(tensors, HALF)


def wants_mesh_triton(*tensors: Tensor) -> bool:
    """The same of the ops of meshes, which have gradients and are float32 (docs/decisions/0006)."""
    return _wants(tensors, (*HALF, torch.float32))


def _wants(tensors: tuple[Tensor, ...], dtypes: tuple[torch.dtype, ...]) -> bool:
    wanted = mode()
    if wanted == "torch" or torch.compiler.is_exporting():
        return False
    if wanted == "auto":
        return tensors[0].is_cuda and COMPILES and all(tensor.dtype in dtypes for tensor in tensors)
    if not HAS_TRITON:
        raise ConfigError(f"{VARIABLE} is triton, but the package triton is not installed")
    if not tensors[0].is_cuda and not interpreted():
        raise ConfigError(f"{VARIABLE} is triton on a {tensors[0].device.type}; set TRITON_INTERPRET=1 too")
    return all(tensor.dtype != torch.float64 for tensor in tensors)


def interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU rather than compiling them."""
    return os.environ.get("TRITON_INTERPRET") == "1"
