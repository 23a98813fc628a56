"""FLAME's file for tests: a small model, and what writes it as Python 2 and 3 do, with variables of chumpy in it."""

import pickle
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
import scipy.sparse

VARIABLES = ("shapedirs", "posedirs", "weights", "v_template")
"""What of a model chumpy holds."""


class Ch:
    """Pickles as a variable of chumpy does: what it notes for itself, and its array."""

    def __init__(self, x: Any) -> None:
        self._dirty_vars, self._itr, self._depends_on_deps = {"x"}, None, {}
        self._make_dense, self._make_sparse, self._status, self._cached_parms = False, False, "new", {"a": (1, "b")}
        self.x = x


class Select:
    """An expression of chumpy: part of a variable."""

    def __init__(self, a: Any, idxs: Any) -> None:
        self.a, self.idxs = a, idxs


@contextmanager
def chumpy() -> Iterator[None]:
    """While it lasts, the two classes above are chumpy's."""
    modules = {name: ModuleType(name) for name in ("chumpy", "chumpy.ch", "chumpy.reordering")}
    modules["chumpy.ch"].__dict__["Ch"], modules["chumpy.reordering"].__dict__["Select"] = Ch, Select
    sys.modules.update(modules)
    try:
        for kind, module in ((Ch, "chumpy.ch"), (Select, "chumpy.reordering")):
            kind.__module__ = module
        yield
    finally:
        for name in modules:
            del sys.modules[name]


def dumps(value: Any, protocol: int) -> bytes:
    with chumpy():
        return pickle.dumps(value, protocol)


def model(vertices: int = 6) -> dict[str, Any]:
    """The content of a FLAME file of a few vertices; sparse regressor, arrays of doubles."""
    rng = np.random.default_rng(3)
    regressor = rng.random((5, vertices)) * (rng.random((5, vertices)) < 0.6) + np.eye(5, vertices)
    weights = rng.random((vertices, 5))
    return {
        "f": np.arange(vertices, dtype=np.uint32).reshape(-1, 3),
        "J_regressor": scipy.sparse.csc_matrix(regressor / regressor.sum(1, keepdims=True)),
        "kintree_table": np.array([[2**32 - 1, 0, 1, 1, 1], [0, 1, 2, 3, 4]], dtype=np.uint32),
        "J": rng.normal(size=(5, 3)),
        "weights": weights / weights.sum(1, keepdims=True),
        "posedirs": rng.normal(size=(vertices, 3, 36)),
        "bs_style": "lbs",
        "v_template": rng.normal(size=(vertices, 3)),
        "shapedirs": np.asfortranarray(rng.normal(size=(vertices, 3, 400))),
        "bs_type": "lrotmin",
    }


def with_variables(tables: dict[str, Any]) -> dict[str, Any]:
    return {name: Ch(value) if name in VARIABLES else value for name, value in tables.items()}


class Python2:
    """Writes values as Python 2's pickle does, opcode for opcode: strings are bytes, old names of modules."""

    def __init__(self, protocol: int) -> None:
        self.protocol, self.memo, self.dtypes = protocol, 0, {}

    def dumps(self, value: Any) -> bytes:
        return (b"\x80\x02" if self.protocol == 2 else b"") + self.value(value) + b"."

    def value(self, value: Any) -> bytes:
        if isinstance(value, dict):
            return self.put(b"(d" if self.protocol == 0 else b"}") + self.items(value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.value, value)) + b"t"
        if isinstance(value, set):
            return b"c__builtin__\nset\n((l" + b"".join(self.value(item) + b"a" for item in value) + b"tR"
        if isinstance(value, str | bytes):
            return self.string(value.encode() if isinstance(value, str) else value)
        if value is None or isinstance(value, bool):
            old = {None: b"N", False: b"I00\n", True: b"I01\n"}
            new = {None: b"N", False: b"\x89", True: b"\x88"}
            return (new if self.protocol == 2 else old)[value]
        if isinstance(value, int):
            return f"I{value}\n".encode() if abs(value) < 2**31 else f"L{value}L\n".encode()
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, scipy.sparse.csc_matrix):
            state = {"_shape": value.shape, "maxprint": 50, "format": "csc", "data": value.data}
            state |= {"indices": value.indices, "indptr": value.indptr, "_has_sorted_indices": True}
            return self.object(b"scipy.sparse.csc\ncsc_matrix\n", state)
        assert isinstance(value, Ch)
        return self.object(b"chumpy.ch\nCh\n", vars(value))

    def string(self, raw: bytes) -> bytes:
        if self.protocol == 0:
            return self.put(b"S" + repr(raw)[1:].encode() + b"\n")
        return self.put(b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + struct.pack("<i", len(raw)) + raw)

    def object(self, name: bytes, state: dict[str, Any]) -> bytes:
        if self.protocol == 2:
            return self.put(b"c" + name + b")\x81") + self.value(state) + b"b"
        made = b"ccopy_reg\n_reconstructor\n(c" + name + b"c__builtin__\nobject\nNtR"
        return self.put(made) + self.value(state) + b"b"

    def array(self, array: np.ndarray) -> bytes:
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt" + self.string(b"b") + b"tR"
        state = [self.value(1), self.value(array.shape), self.dtype(array.dtype), self.value(fortran)]
        raw = self.string(array.tobytes("F" if fortran else "C"))
        return self.put(made) + b"(" + b"".join(state) + raw + b"tb"

    def dtype(self, dtype: np.dtype) -> bytes:
        if dtype.str in self.dtypes:
            return self.get(self.dtypes[dtype.str])
        made = self.put(b"cnumpy\ndtype\n(" + self.string(dtype.str[1:].encode()) + b"I0\nI1\ntR")
        self.dtypes[dtype.str] = self.memo - 1
        return made + b"(I3\n" + self.string(dtype.str[:1].encode()) + b"NNNI-1\nI-1\nI0\ntb"

    def items(self, values: dict[str, Any]) -> bytes:
        pairs = [self.value(key) + self.value(value) for key, value in values.items()]
        return b"".join(pair + b"s" for pair in pairs) if self.protocol == 0 else b"(" + b"".join(pairs) + b"u"

    def put(self, made: bytes) -> bytes:
        self.memo += 1
        number = self.memo - 1
        return made + (f"p{number}\n".encode() if self.protocol == 0 else b"r" + struct.pack("<I", number))

    def get(self, number: int) -> bytes:
        return f"g{number}\n".encode() if self.protocol == 0 else b"j" + struct.pack("<I", number)


WRITERS: dict[str, Callable[[Any], bytes]] = {
    **{f"Python 3, protocol {n}": lambda value, n=n: dumps(value, n) for n in range(6)},
    **{f"Python 2, protocol {n}": lambda value, n=n: Python2(n).dumps(value) for n in range(3)},
}
