"""Reading numpy, scipy and chumpy pickles, of Python 3 and 2, without running anything of theirs.

Only arrays of plain numbers and scipy's compressed sparse matrices can come out; a variable of chumpy (`Ch`) is its
array. No global of the pickle is ever looked up: each allowed name stands for a recorder of ours, and any other name
ends the reading. Recorders keep what they are given; what they kept is checked and turned into arrays when all has been
read. Memory is bounded by the file's size.
"""

import io
import math
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import WeightsError, one_line

NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
BYTE_ORDERS = ("<", ">", "|", "=")
COPIES = 8
"""Arrays may take this many times the file's size: an array is copied where its order is not ours."""


class _Refused(Exception):
    """The pickle asks for something that is not on the list."""


class _Recorder:
    """Stands for a class of numpy or scipy: keeps the arguments it is made with and the state it is given."""

    __slots__ = ("arguments", "state")

    def __new__(cls, *arguments: Any) -> "_Recorder":
        made = super().__new__(cls)
        made.arguments, made.state = arguments, None
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Dtype(_Recorder):
    __slots__ = ()


class _Array(_Recorder):
    __slots__ = ()


class _Buffer(_Recorder):
    """An array as protocol 5 has it: bytes, type, shape, order."""

    __slots__ = ()


class _SparseColumns(_Recorder):
    __slots__ = ()


class _SparseRows(_Recorder):
    __slots__ = ()


class _Variable(_Recorder):
    """Of chumpy: an array, as `x` of its state, among what chumpy notes for itself."""

    __slots__ = ()


class Expression(_Recorder):
    """Of chumpy: what is computed of variables. It comes out without a value, for tables that nobody needs."""

    __slots__ = ()


class _Set(_Recorder):
    """Only chumpy's notes have sets; nobody looks at them."""

    __slots__ = ()


class _Object:
    """Stands for object, which old pickles name as the base of a class."""

    __slots__ = ()


class _Reconstructor:
    """Stands for copyreg._reconstructor, with which old pickles make an object before they give it its state."""

    __slots__ = ()

    def __call__(self, kind: Any, base: Any, state: Any) -> _Recorder:
        kinds = (_Variable, Expression, _SparseColumns, _SparseRows)
        if kind not in kinds or not isinstance(base, _Object) or state is not None:
            raise _Refused("an object that is made of another")
        return kind()


class _Encode:
    """Stands for _codecs.encode, which old pickles write bytes with."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise _Refused("an encoding other than latin1")
        return text.encode("latin1")


class _NoBytes:
    """Stands for bytes, which old pickles call for the empty ones."""

    __slots__ = ()

    def __call__(self) -> bytes:
        return b""


_ALLOWED: dict[tuple[str, str], Any] = {
    **{(m, "_reconstruct"): _Array for m in ("numpy.core.multiarray", "numpy._core.multiarray")},
    **{(m, "_frombuffer"): _Buffer for m in ("numpy.core.numeric", "numpy._core.numeric")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    **{(m, "csc_matrix"): _SparseColumns for m in ("scipy.sparse._csc", "scipy.sparse.csc")},
    **{(m, "csr_matrix"): _SparseRows for m in ("scipy.sparse._csr", "scipy.sparse.csr")},
    ("chumpy.ch", "Ch"): _Variable,
    **{(m, "set"): _Set for m in ("__builtin__", "builtins")},
    **{(m, "object"): _Object() for m in ("__builtin__", "builtins")},
    **{(m, "_reconstructor"): _Reconstructor() for m in ("copy_reg", "copyreg")},
    ("_codecs", "encode"): _Encode(),
    ("__builtin__", "bytes"): _NoBytes(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            if module_name.split(".")[0] == "chumpy":
                return Expression
            raise _Refused(f"it names {one_line(f'{module_name}.{global_name}')[:80]}") from None


class SparseMatrix:
    """Entries of a sparse matrix: `row`, `column` int64, `value`, and its `shape`."""

    def __init__(
        self, shape: tuple[int, int], pointers: NDArray, inner: NDArray, value: NDArray, *, by_column: bool
    ) -> None:
        """The three arrays of a compressed matrix; raises `_Refused` where they do not go together."""
        outer_size, inner_size = (shape[1], shape[0]) if by_column else shape
        whole = all(array.ndim == 1 and array.dtype.kind in "iu" for array in (pointers, inner)) and value.ndim == 1
        if not whole or len(pointers) != outer_size + 1 or len(inner) != len(value) or int(pointers[0]) != 0:
            raise _Refused("a sparse matrix whose arrays do not go together")
        falling = bool((pointers[1:] < pointers[:-1]).any())
        outside = len(inner) and not 0 <= int(inner.min()) <= int(inner.max()) < inner_size
        if falling or int(pointers[-1]) != len(inner) or outside:
            raise _Refused("a sparse matrix whose indices point outside it")
        outer = np.repeat(np.arange(outer_size, dtype=np.int64), np.diff(pointers.astype(np.int64)))
        inner = inner.astype(np.int64)
        self.shape, self.value = shape, value
        self.row, self.column = (inner, outer) if by_column else (outer, inner)


class _Plain:
    """Turns what was read into plain values: each object once, and no more memory than `budget` bytes for arrays."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.done: dict[int, Any] = {}

    def __call__(self, value: Any) -> Any:
        if id(value) not in self.done:
            self.done[id(value)] = self._make(value)
        return self.done[id(value)]

    def _make(self, value: Any) -> Any:
        if isinstance(value, _Array):
            return self._stated_array(value.state)
        if isinstance(value, _Buffer) and len(value.arguments) == 4:
            raw, dtype, shape, order = value.arguments
            return self._array(shape, dtype, order == "F", raw)
        if isinstance(value, _SparseColumns | _SparseRows):
            return self._sparse(value.state, by_column=isinstance(value, _SparseColumns))
        if isinstance(value, _Variable):
            return self._variable(value.state)
        if isinstance(value, Expression):
            return value
        if isinstance(value, dict):
            return {key: self(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self(item) for item in value)
        if value is None or isinstance(value, bool | int | float | str | bytes):
            return value
        raise _Refused(f"a {type(value).__name__.strip('_')} on its own")

    def _stated_array(self, state: Any) -> NDArray:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array without content")
        return self._array(*state[1:])

    def _array(self, shape: Any, dtype: Any, fortran: Any, raw: Any) -> NDArray:
        if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray | str):
            raise _Refused("an array of objects")
        kind = self._dtype(dtype)
        if not isinstance(shape, tuple) or len(shape) > 8 or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise _Refused("an array of no possible shape")
        if math.prod(shape) * kind.itemsize != len(raw):
            raise _Refused("an array whose bytes do not fill its shape")
        self.budget -= len(raw)
        if self.budget < 0:
            raise _Refused("arrays that take far more memory than the file")
        if isinstance(raw, str):  # bytes of Python 2, each a character of Latin-1
            raw = raw.encode("latin1")
        array = np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if fortran else "C")
        return np.asarray(array, dtype=kind.newbyteorder("="), order="C")

    def _dtype(self, recorded: _Dtype) -> np.dtype:
        code = recorded.arguments[0] if recorded.arguments else None
        order = recorded.state[1] if isinstance(recorded.state, tuple) and len(recorded.state) > 1 else "="
        if code not in NUMBERS or order not in BYTE_ORDERS:
            raise _Refused(f"arrays of {one_line(str(code))[:20]!r}")
        return np.dtype(code).newbyteorder(order)

    def _variable(self, state: Any) -> NDArray:
        array = self(state["x"]) if isinstance(state, dict) and "x" in state else None
        if not isinstance(array, np.ndarray):
            raise _Refused("a variable of chumpy without its array")
        return array

    def _sparse(self, state: Any, *, by_column: bool) -> SparseMatrix:
        if not isinstance(state, dict):
            raise _Refused("a sparse matrix without content")
        shape = state.get("_shape")
        if not isinstance(shape, tuple) or len(shape) != 2 or not all(type(n) is int and n >= 0 for n in shape):
            raise _Refused("a sparse matrix without a shape")
        arrays = [self(state.get(name)) for name in ("indptr", "indices", "data")]
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise _Refused("a sparse matrix without its three arrays")
        return SparseMatrix(shape, *arrays, by_column=by_column)


def _check_memo(data: bytes) -> None:
    """Refuses a memo index beyond the file's size, for which the reader would make a table that long."""
    opcodes = {opcode.code.encode("latin1"): opcode for opcode in pickletools.opcodes}
    stream, name = io.BytesIO(data), ""
    while name != "STOP":
        opcode = opcodes[stream.read(1)]
        name = opcode.name
        if name == "STRING":  # pickletools takes ASCII only; Python 2 writes arrays so
            stream.readline()
            continue
        argument = opcode.arg.reader(stream) if opcode.arg else None
        if "PUT" in name and argument is not None and int(argument) > len(data):
            raise _Refused("a memo far larger than the file")


def load_arrays(path: Path) -> Any:
    """Reads a pickle of numbers, strings, numpy arrays and scipy sparse matrices (`SparseMatrix` here).

    Strings of Python 2 are read as Latin-1. What chumpy would have to compute comes as an `Expression`.

    Raises:
        WeightsError: the file cannot be read, is no pickle, or asks for anything else; nothing of it has run.
    """
    try:
        data = path.read_bytes()
        _check_memo(data)
        return _Plain(COPIES * len(data))(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except _Refused as refusal:
        raise WeightsError(f"{path} is refused: {refusal}; only numbers, arrays and sparse matrices are read") from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from None
    except Exception as error:  # a hostile pickle can make its reader fail in any way
        raise WeightsError(f"{path} is no pickle of arrays ({type(error).__name__})") from None
