"""The user's own FLAME model, `generic_model.pkl` of FLAME 2020, as the engine's face model.

    v_template [V, 3]   shapedirs [V, 3, 400]   posedirs [V, 3, 36]   J_regressor [5, V]   weights [V, 5]   f [T, 3]

Of the 400 directions the first 300 are of shape and the others of expression; DECA uses 100 and 50 of them.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.flame import PARENTS, Flame
from fantasyid_engine.weights.unpickle import Expression, SparseMatrix, load_arrays

DIRECTIONS = 400
SHAPE, EXPRESSION = slice(0, 100), slice(300, 350)
ARRAYS = {
    "template": "v_template",
    "pose_basis": "posedirs",
    "skinning_weights": "weights",
}
"""Their names of what is taken as it is, by ours."""


def flame_from_pickle(path: Path) -> Flame:
    """Reads FLAME's pickle, running nothing of it.

    Raises:
        WeightsError: the pickle is refused, or is no such model.
    """
    return flame_of(load_arrays(path), path)


def is_flame(tables: Any) -> bool:
    """Whether what a pickle held is meant as a face model."""
    return isinstance(tables, dict) and {"v_template", "shapedirs"} <= tables.keys()


def flame_of(tables: Any, path: Path) -> Flame:
    """The face model of tables that `path` held; raises WeightsError where they make none."""
    try:
        return Flame(_tables(tables))
    except KeyError as error:
        raise WeightsError(f"{path} is no FLAME model: it has no table {error.args[0]!r}") from None
    except (TypeError, ValueError) as error:
        raise WeightsError(f"{path} is no FLAME model: {error}") from None


def _tables(theirs: Any) -> dict[str, Tensor]:
    made = {ours: _floats(theirs, name) for ours, name in ARRAYS.items()}
    directions = _floats(theirs, "shapedirs")
    if directions.ndim != 3 or directions.shape[2] != DIRECTIONS:
        raise ValueError(f"shapedirs is {' x '.join(map(str, directions.shape))}, not V x 3 x {DIRECTIONS}")
    made |= {"shape_basis": directions[..., SHAPE].clone(), "expression_basis": directions[..., EXPRESSION].clone()}
    made["joint_regressor"] = _regressor(theirs["J_regressor"], len(made["template"]))
    made["faces"] = torch.from_numpy(_integers(theirs, "f"))
    if "kintree_table" in theirs:
        table = _integers(theirs, "kintree_table")
        if table.shape != (2, len(PARENTS)) or tuple(table[0, 1:]) != PARENTS[1:]:
            raise ValueError("its joints are not root, neck, jaw and eyes")
    return made


def _floats(theirs: Any, name: str) -> Tensor:
    array = theirs[name]
    if isinstance(array, Expression):
        raise ValueError(f"{name} is an expression of chumpy; save its value, where chumpy runs: np.array(m['{name}'])")
    if not isinstance(array, np.ndarray) or array.dtype.kind != "f" or not array.ndim:
        raise ValueError(f"{name} is no array of floats")
    return torch.tensor(array, dtype=torch.float32)


def _integers(theirs: Any, name: str) -> NDArray[np.int64]:
    array = theirs[name]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iu":
        raise ValueError(f"{name} is no array of integers")
    return array.astype(np.int64)


def _regressor(matrix: Any, vertices: int) -> Tensor:
    """Sparse in their file, dense in ours."""
    shape = len(PARENTS), vertices
    if isinstance(matrix, np.ndarray):
        return torch.tensor(matrix, dtype=torch.float32)
    if not isinstance(matrix, SparseMatrix) or matrix.shape != shape:
        raise ValueError(f"J_regressor is no matrix of {shape[0]} x {shape[1]}")
    dense = np.zeros(shape)
    np.add.at(dense, (matrix.row, matrix.column), matrix.value)
    return torch.tensor(dense, dtype=torch.float32)
