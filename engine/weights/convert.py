"""Turning pickled weights into safetensors, offline: torch files and the authors' `transform.pkl`.

torch files are read with `weights_only`, numpy pickles with the allow-list of `unpickle`: nothing of a file ever runs.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from fantasyid_engine.atomic import atomic_file, atomic_folder
from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.errors import ConfigError, WeightsError, some_of
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable
from fantasyid_engine.models.spirals import build_spirals
from fantasyid_engine.weights.manifest import write_manifest
from fantasyid_engine.weights.shards import PICKLES
from fantasyid_engine.weights.unpickle import SparseMatrix, load_arrays

WRAPPERS = ("state_dict", "model", "module")
MESH_PICKLE = "transform.pkl"


def convert(source: Path, target: Path) -> list[str]:
    """Converts a file to a file, or a model folder to a model folder with a manifest.

    Args:
        source: a pickled file, or a folder in the authors' layout.
        target: the safetensors file, or the folder, to make; a folder must be new.

    Returns:
        One line for each file made, and for what was left out of it.

    Raises:
        WeightsError: `source` is missing, refused or not of a kind that is converted.
        OutputError: `target` cannot be written.
    """
    if source.is_dir():
        return _convert_folder(source, target)
    if not source.is_file():
        raise WeightsError(f"nothing to convert at {source}")
    if target.suffix != ".safetensors":
        raise WeightsError(f"{target} must end in .safetensors")
    return _convert_file(source, target)


def _convert_folder(source: Path, target: Path) -> list[str]:
    if target.resolve().is_relative_to(source.resolve()):
        raise WeightsError(f"{target} lies in {source}; name a folder outside it")
    lines = []
    with atomic_folder(target) as temporary:
        for path in sorted(p for p in source.rglob("*") if p.is_file() and not p.name.startswith(".")):
            relative = path.relative_to(source)
            if path.name == MESH_PICKLE:
                made = temporary / "face_encoder" / "mesh.safetensors"
            elif path.suffix in PICKLES:
                made = (temporary / relative).with_suffix(".safetensors")
            else:
                made = temporary / relative
                made.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, made)
                continue
            if made.exists() or path.with_suffix(".safetensors").exists():
                raise WeightsError(f"{path} and {made.name} are both there: remove the one that is not wanted")
            lines += [line.replace(str(temporary), str(target)) for line in _convert_file(path, made)]
        write_manifest(temporary)
    return [*lines, f"wrote {target / 'manifest.json'}"]


def _convert_file(source: Path, target: Path) -> list[str]:
    if source.suffix == ".pkl":
        hierarchy = hierarchy_from_pickle(source)
        with atomic_file(target) as temporary:
            hierarchy.save(temporary)
        return [f"wrote {target}: a mesh hierarchy of {hierarchy.levels} vertices"]
    if source.suffix not in PICKLES:
        raise WeightsError(f"{source} is not of a kind that is converted ({', '.join(PICKLES)}, .pkl)")
    tensors, left_out = load_state_dict(source)
    with atomic_file(target) as temporary:
        save_file(tensors, temporary, metadata={"format": "pt"})
    lines = [f"wrote {target}: {len(tensors)} tensors"]
    return [*lines, f"left out of {target}: {some_of(left_out)} (no tensors)"] if left_out else lines


def load_state_dict(path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Reads a torch file with `weights_only` -> its state dict, and the names of what in it is no tensor.

    A state dict wrapped as `state_dict`, `model` or `module` is unwrapped; a leading `module.` of all keys is dropped.

    Raises:
        WeightsError: the file cannot be read, holds more than tensors and plain values, or no state dict.
    """
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else "not a pickle of tensors"
        raise WeightsError(f"{path} is refused: {reason[:160]}") from None
    except Exception as error:  # a hostile or truncated file can make its reader fail in any way
        raise WeightsError(f"{path} is truncated or no torch file ({type(error).__name__})") from None
    state: Any = loaded
    while isinstance(state, dict) and (inner := next((state[w] for w in WRAPPERS if w in state), None)) is not None:
        state = inner
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} holds no state dict")
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    left_out = [str(key) for key, value in state.items() if not isinstance(value, Tensor)]
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    for key, value in tensors.items():
        if value.layout != torch.strided:
            raise WeightsError(f"{path} is refused: {key} is a sparse tensor")
    return _own_memory(tensors), left_out


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


def hierarchy_from_pickle(path: Path, config: MeshConfig | None = None) -> MeshHierarchy:
    """The authors' `transform.pkl` (`vertices`, `face`, `down_transform`, `up_transform` a level) -> hierarchy.

    Raises:
        WeightsError: the pickle is refused, or has no such tables.
    """
    config = config or MeshConfig()
    tables = load_arrays(path)
    try:
        steps = range(len(config.levels) - 1)
        length = config.spiral_length
        spirals = [build_spirals(tables["vertices"][i], tables["face"][i].astype(np.int64), length) for i in steps]
        hierarchy = MeshHierarchy(
            spirals=tuple(torch.from_numpy(spiral).int() for spiral in spirals),
            down=tuple(_sample_table(tables["down_transform"][i]) for i in steps),
            up=tuple(_sample_table(tables["up_transform"][i]) for i in steps),
            faces=torch.from_numpy(tables["face"][0].astype(np.int32)),
            template=torch.from_numpy(tables["vertices"][0].astype(np.float32)),
        )
        hierarchy.check(config)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, ConfigError) as error:
        raise WeightsError(f"{path} is no mesh hierarchy of {config.levels} vertices: {error}") from None
    return hierarchy


def _sample_table(matrix: SparseMatrix) -> SampleTable:
    """Rows of a sparse matrix as index and value tables, filled up with zeros to the longest row."""
    rows = matrix.shape[0]
    order = np.argsort(matrix.row, kind="stable")
    row, counts = matrix.row[order], np.bincount(matrix.row, minlength=rows)
    width = max(1, int(counts.max(initial=0)))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.zeros((rows, width), dtype=np.int32)
    value = np.zeros((rows, width), dtype=np.float32)
    index[row, place], value[row, place] = matrix.column[order], matrix.value[order]
    return SampleTable(torch.from_numpy(index), torch.from_numpy(value))
