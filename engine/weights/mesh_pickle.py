"""The authors' mesh hierarchy: `transform.pkl` with `vertices`, `face`, `down_transform`, `up_transform` a level."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable
from fantasyid_engine.models.spirals import build_spirals
from fantasyid_engine.weights.unpickle import SparseMatrix


def is_hierarchy(tables: Any) -> bool:
    """Whether what a pickle held is meant as a mesh hierarchy."""
    return isinstance(tables, dict) and {"down_transform", "up_transform"} <= tables.keys()


def hierarchy_of(tables: Any, path: Path) -> MeshHierarchy:
    """The hierarchy of tables that `path` held; raises WeightsError where they make none of the authors' sizes."""
    config = MeshConfig()
    try:
        return _hierarchy(tables, config)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise WeightsError(f"{path} is no mesh hierarchy of {config.levels} vertices: {error}") from None


def _hierarchy(tables: Any, config: MeshConfig) -> MeshHierarchy:
    levels = config.levels
    spirals, down, up = [], [], []
    for i, (fine, coarse) in enumerate(pairwise(levels)):
        vertices = _array(tables["vertices"][i], fine)
        faces = _array(tables["face"][i]).astype(np.int64)
        if not ((faces >= 0) & (faces < fine)).all():
            raise ValueError(f"face {i} points outside the {fine} vertices of its level")
        spirals.append(torch.from_numpy(build_spirals(vertices, faces, config.spiral_length)).int())
        down.append(_sample_table(tables["down_transform"][i], (coarse, fine)))
        up.append(_sample_table(tables["up_transform"][i], (fine, coarse)))
    return MeshHierarchy(
        spirals=tuple(spirals),
        down=tuple(down),
        up=tuple(up),
        faces=torch.from_numpy(tables["face"][0].astype(np.int32)),
        template=torch.from_numpy(tables["vertices"][0].astype(np.float32)),
    )


def _array(value: Any, rows: int | None = None) -> NDArray:
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.shape[1] != 3 or rows not in (None, len(value)):
        raise ValueError(f"a table is not {'n' if rows is None else rows} x 3")
    return value


def _sample_table(matrix: Any, shape: tuple[int, int]) -> SampleTable:
    """Rows of a sparse matrix as index and value tables, filled up with zeros to the longest row."""
    if not isinstance(matrix, SparseMatrix) or matrix.shape != shape:
        raise ValueError(f"a transform is no sparse matrix of {shape[0]} x {shape[1]}")
    order = np.argsort(matrix.row, kind="stable")
    row, counts = matrix.row[order], np.bincount(matrix.row, minlength=shape[0])
    width = max(1, int(counts.max()))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    index = np.zeros((shape[0], width), dtype=np.int32)
    value = np.zeros((shape[0], width), dtype=np.float32)
    index[row, place], value[row, place] = matrix.column[order], matrix.value[order]
    return SampleTable(torch.from_numpy(index), torch.from_numpy(value))
