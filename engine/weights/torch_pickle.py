"""Reading a state dict from a torch file: `weights_only`, and only tensors that safetensors can hold."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fantasyid_engine.errors import WeightsError, one_line

WRAPPERS = ("state_dict", "model", "module")
DECA_ENCODER = "E_flame"
"""What is read of DECA's checkpoint, which holds networks of details and an optimiser beside it."""
DTYPES = (
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


LeftOut = dict[str, list[str]]
"""Names of what was not taken, by why not."""


def load_state_dict(path: Path) -> tuple[dict[str, Tensor], LeftOut]:
    """Reads a torch file -> its state dict, and what of the file is not in it.

    A state dict wrapped as `state_dict`, `model` or `module` is unwrapped; of DECA's checkpoint `E_flame` is taken. A
    leading `module.` of all keys is dropped.

    Raises:
        WeightsError: the file cannot be read, holds more than tensors and plain values, or no state dict.
    """
    state, left_out = _unwrap(_load(path)), LeftOut()
    if isinstance(state, dict) and isinstance(state.get(DECA_ENCODER), dict):
        left_out[f"only {DECA_ENCODER} is read"] = [one_line(str(key)) for key in state if key != DECA_ENCODER]
        state = state[DECA_ENCODER]
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state dict")
    tensors: dict[str, Tensor] = {}
    for key, value in state.items():
        if isinstance(value, Tensor):
            _check(path, key, value)
            tensors[key] = value
    left_out["no tensors"] = [one_line(str(key)) for key, value in state.items() if not isinstance(value, Tensor)]
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return _own_memory(tensors), {why: names for why, names in left_out.items() if names}


def _load(path: Path) -> Any:
    try:
        if _is_tar(path):
            raise WeightsError(f"{path} is refused: a tar archive, as no torch file is since 2017; unpack it")
        archived = zipfile.is_zipfile(path)
        if archived:
            with zipfile.ZipFile(path) as archive:
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise WeightsError(f"{path} is refused: torch does not compress its archives")
        return torch.load(path, map_location="cpu", weights_only=True, mmap=archived)
    except WeightsError:
        raise
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "not a pickle of tensors"
        raise WeightsError(f"{path} is refused: {reason[:160]}") from None
    except Exception as error:  # a hostile or truncated file can make its reader fail in any way
        raise WeightsError(f"{path} is truncated or no torch file ({type(error).__name__})") from None


def _is_tar(path: Path) -> bool:
    """Whether it is an archive of tar, by what POSIX puts at that place; many a torch file has only the name of one."""
    with path.open("rb") as file:
        return file.read(262)[257:] == b"ustar"


def _unwrap(state: Any) -> Any:
    for _ in WRAPPERS:
        inner = [state[name] for name in WRAPPERS if isinstance(state, dict) and isinstance(state.get(name), dict)]
        state = inner[0] if inner else state
    return state


def _check(path: Path, key: Any, tensor: Tensor) -> None:
    """Refuses what safetensors cannot hold, before anything touches its memory."""
    name = one_line(str(key))[:80]
    if not isinstance(key, str) or key == "__metadata__" or not key.isprintable():
        raise WeightsError(f"{path} is refused: {name!r} is no name for a tensor")
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_nested or tensor.is_quantized:
        raise WeightsError(
            f"{path} is refused: {name} is a tensor of a special kind ({tensor.layout}, {tensor.device})"
        )
    if tensor.dtype not in DTYPES:
        raise WeightsError(f"{path} is refused: {name} is of type {tensor.dtype}")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise WeightsError(f"{path} is refused: {name} repeats its memory")


def _own_memory(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Safetensors stores no views: a tensor that is part of a storage, or shares it, gets memory of its own."""
    taken: set[int] = set()
    own = {}
    for key, value in tensors.items():
        storage = value.untyped_storage()
        whole = value.is_contiguous() and storage.nbytes() == value.nbytes and storage.data_ptr() not in taken
        taken.add(storage.data_ptr())
        own[key] = value if whole else value.clone(memory_format=torch.contiguous_format)
    return own
