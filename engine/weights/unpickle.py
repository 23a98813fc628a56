"""Reading numpy and scipy pickles without running anything of theirs.

Only arrays of plain numbers and scipy's compressed sparse matrices can come out. No global of the pickle is ever looked
up: each allowed name stands for a recorder of ours, and any other name ends the reading.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import WeightsError, one_line

NUMBER = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"}


class _Refused(Exception):
    """The pickle asks for something that is not on the list."""


class _Dtype:
    """Stands for numpy.dtype: a plain number type and its byte order."""

    __slots__ = ("numpy",)

    def __init__(self, code: Any, align: Any = False, copy: Any = False) -> None:
        if code not in NUMBER:
            raise _Refused(f"arrays of {str(code)[:20]!r}")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        if order not in ("<", ">", "|", "="):
            raise _Refused("a byte order that is none")
        self.numpy = self.numpy.newbyteorder(order)


class _Array:
    """Stands for numpy.ndarray; holds the array once its state has come."""

    __slots__ = ("array",)

    def __init__(self, *made_from: Any) -> None:
        self.array: NDArray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes):
            raise _Refused("an array of objects")
        kind = dtype.numpy
        if not all(type(n) is int and n >= 0 for n in shape) or math.prod(shape) * kind.itemsize != len(raw):
            raise _Refused("an array whose bytes do not fill its shape")
        array = np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if fortran else "C")
        self.array = np.ascontiguousarray(array, dtype=kind.newbyteorder("="))


class _SparseColumns:
    """Stands for scipy's csc_matrix; holds its fields once its state has come."""

    by_column = True

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise _Refused("a sparse matrix without fields")
        self.fields = state


class _SparseRows(_SparseColumns):
    """Stands for scipy's csr_matrix."""

    by_column = False


def _encode(text: Any, encoding: Any) -> bytes:
    """Stands for _codecs.encode, which old pickles write bytes with."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("an encoding other than latin1")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Stands for bytes, which old pickles call for the empty ones."""
    return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(m, "_reconstruct"): _Array for m in ("numpy.core.multiarray", "numpy._core.multiarray")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{(m, "csc_matrix"): _SparseColumns for m in ("scipy.sparse._csc", "scipy.sparse.csc")},
    **{(m, "csr_matrix"): _SparseRows for m in ("scipy.sparse._csr", "scipy.sparse.csr")},
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise _Refused(f"it names {one_line(f'{module_name}.{global_name}')[:80]}") from None


class SparseMatrix:
    """Entries of a sparse matrix: `row`, `column` int64, `value`, and its `shape`."""

    def __init__(self, sparse: _SparseColumns) -> None:
        fields = _plain(getattr(sparse, "fields", {}), {})
        shape, pointers, inner = fields.get("_shape"), fields.get("indptr"), fields.get("indices")
        value = fields.get("data")
        if not (isinstance(shape, tuple) and len(shape) == 2 and all(type(n) is int and n >= 0 for n in shape)):
            raise _Refused("a sparse matrix without a shape")
        if not all(isinstance(a, np.ndarray) and a.ndim == 1 for a in (pointers, inner, value)):
            raise _Refused("a sparse matrix without its three arrays")
        assert isinstance(pointers, np.ndarray) and isinstance(inner, np.ndarray) and isinstance(value, np.ndarray)
        counts = np.diff(pointers.astype(np.int64))
        outer_size, inner_size = (shape[1], shape[0]) if sparse.by_column else shape
        fits = len(counts) == outer_size and len(inner) == len(value) == int(counts.sum()) and (counts >= 0).all()
        if not fits or (len(inner) and not 0 <= inner.min() <= inner.max() < inner_size):
            raise _Refused("a sparse matrix whose arrays do not go together")
        outer = np.repeat(np.arange(outer_size, dtype=np.int64), counts)
        self.shape, self.value = shape, value
        self.row, self.column = (inner.astype(np.int64), outer) if sparse.by_column else (outer, inner.astype(np.int64))


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """Recorders -> arrays and sparse matrices, through lists, tuples and dicts; each object once (`done`, by id)."""
    if id(value) not in done:
        done[id(value)] = _plain_once(value, done)
    return done[id(value)]


def _plain_once(value: Any, done: dict[int, Any]) -> Any:
    if isinstance(value, _Array):
        if value.array is None:
            raise _Refused("an array without content")
        return value.array
    if isinstance(value, _SparseColumns):
        return SparseMatrix(value)
    if isinstance(value, dict):
        return {key: _plain(item, done) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, done) for item in value)
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    raise _Refused(f"a {type(value).__name__.strip('_')} on its own")


def load_arrays(path: Path) -> Any:
    """Reads a pickle of numbers, strings, numpy arrays and scipy sparse matrices (`SparseMatrix` here).

    Raises:
        WeightsError: the file cannot be read, is no pickle, or asks for anything else; nothing of it has run.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(path.read_bytes())).load(), {})
    except _Refused as refusal:
        raise WeightsError(f"{path} is refused: {refusal}; only numbers, arrays and sparse matrices are read") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # a hostile pickle can make its reader fail in any way
        raise WeightsError(f"{path} is no pickle of arrays ({type(error).__name__})") from None
