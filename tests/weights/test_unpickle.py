"""Hostile pickles are refused before anything runs; honest ones give numpy's own numbers."""

import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights import unpickle
from fantasyid_engine.weights.unpickle import SparseMatrix, load_arrays
from tests.goldens import require_reference


class Call:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


def dumps(value: Any, protocol: int = 4) -> bytes:
    return pickle.dumps(value, protocol=protocol)


def global_call(module: str, name: str, argument: bytes) -> bytes:
    """A text-protocol pickle: name a global, call it with one string."""
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n(S" + argument + b"\ntR."


def array_state(shape: tuple, dtype: Any, raw: Any) -> Any:
    reconstruct = np._core.multiarray._reconstruct
    return Call(reconstruct, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, raw))


def hostile(canary: Path) -> dict[str, bytes]:
    touch = f"touch {canary}"
    quoted = repr(touch).encode()
    python = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    made = {
        "os.system": dumps(Call(os.system, touch)),
        "os.system, protocol 0": dumps(Call(os.system, touch), 0),
        "posix.system by text": global_call("posix", "system", quoted),
        "builtins.eval": dumps(Call(eval, python)),
        "builtins.exec": dumps(Call(exec, python)),
        "python 2 __builtin__.eval": global_call("__builtin__", "eval", repr(python).encode()),
        "subprocess.Popen": global_call("subprocess", "Popen", quoted),
        "subprocess.check_output": global_call("subprocess", "check_output", quoted),
        "nested in a dict": dumps({"vertices": [np.zeros(3)], "face": Call(os.system, touch)}),
        "nested in an array's state": dumps(array_state((1,), np.dtype("f8"), Call(os.system, touch))),
        "nested in a dtype's state": dumps(Call(np.dtype, "f8", False, True, state=Call(os.system, touch))),
        "array of objects": dumps(np.array([Call(os.system, touch)], dtype=object)),
        "sparse matrix of it": dumps({"up_transform": Call(scipy.sparse.csc_matrix, Call(os.system, touch))}),
        "getattr": global_call("builtins", "getattr", b"'os'"),
        "importlib": global_call("importlib", "import_module", b"'os'"),
        "operator.attrgetter": global_call("operator", "attrgetter", b"'system'"),
        "pickle.loads": dumps(Call(pickle.loads, dumps(Call(os.system, touch)))),
        "INST opcode": b"(S" + quoted + b"\nios\nsystem\n.",
        "OBJ opcode": b"(cos\nsystem\nS" + quoted + b"\no.",
        "EXT opcode": b"\x80\x02\x82\x01.",
        "persistent id": b"Pid\n.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R.",
        "dotted attribute of an allowed name": b"\x80\x04\x8c\x05numpy\x8c\x10ndarray.__init__\x93.",
        "numpy.load": global_call("numpy", "load", b"'x.npy'"),
        "numpy.testing runstring": global_call("numpy.testing._private.utils", "runstring", b"'x'"),
        "scipy.io.loadmat": global_call("scipy.io", "loadmat", b"'x'"),
        "torch._utils": global_call("torch._utils", "_rebuild_tensor_v2", b"'x'"),
        "codecs.decode": global_call("_codecs", "decode", b"'x'"),
        "copyreg": global_call("copyreg", "_reconstructor", b"'x'"),
        "an allowed function by itself": b"c_codecs\nencode\n.",
        "state for an allowed function": b"c_codecs\nencode\n}S'evil'\nI1\nsb.",
        "defaults for an allowed function": b"c_codecs\nencode\n(N}S'__defaults__'\n(S'h'\nS'latin1'\ntstb.",
        "memo far larger than the file": b"\x80\x02Nr\x00\x00\x00\x10.",
        "arrays that share their bytes": dumps(many_copies()),
        "buffer without an order": dumps(buffer(b"1234", np.dtype("f4"), (1,))),
        "buffer that does not fill its shape": dumps(buffer(b"1234", np.dtype("f4"), (2**40, 2**20), "C")),
        "buffer of objects": dumps(buffer(b"12345678", np.dtype("O"), (1,), "C")),
        "buffer of a call": dumps(buffer(Call(os.system, touch), np.dtype("f4"), (1,), "C")),
        "bytes that can be changed": dumps(bytearray(8), 5),
        "sparse matrix whose counts wrap": dumps(wrapping_sparse()),
        "array of huge numbers as shape": dumps(array_state((2**4000,) * 8, np.dtype("f8"), b"12345678")),
        "state for a class": b"cnumpy\nndarray\n}S'evil'\nI1\nsb.",
        "dtype of objects": dumps(np.dtype("O")),
        "dtype of records": dumps(np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])),
        "bytes that do not fill the shape": dumps(array_state((10**12,), np.dtype("f8"), b"12345678")),
        "negative shape": dumps(array_state((-1, -1), np.dtype("f8"), b"12345678")),
        "sparse matrix with wild indices": dumps(wild_sparse()),
        "very deep list": b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
    }
    assert len(made) >= 20
    return made


def buffer(*arguments: Any) -> Any:
    return Call(np._core.numeric._frombuffer, *arguments)


def many_copies() -> Any:
    """One kilobyte of bytes, a hundred arrays in an order that must be copied."""
    raw = bytes(10_000)
    return [array_state((50, 25), np.dtype(">f8"), raw) for _ in range(100)]


def wrapping_sparse() -> Any:
    """Column counts of 2^62 each, whose sum wraps around to zero."""
    matrix = scipy.sparse.csc_matrix((2, 4))
    matrix.indptr = np.array([0, 2**62, -(2**63), -(2**62), 0])
    return matrix


def wild_sparse() -> Any:
    matrix = scipy.sparse.csc_matrix(np.eye(3))
    matrix.indices[0] = 10**6
    return matrix


@pytest.mark.parametrize("name", hostile(Path("x")))
def test_hostile_pickle_is_refused_before_anything_runs(name: str, tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "hostile.pkl"
    path.write_bytes(hostile(canary)[name])
    with pytest.raises(WeightsError, match=r"hostile\.pkl is (refused: .+ only numbers|no pickle of arrays)") as error:
        load_arrays(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400
    assert not canary.exists()


def test_nothing_of_a_refused_pickle_stays(tmp_path: Path) -> None:
    """Stand-ins have nothing that a pickle's state could change for the next reader."""
    path = tmp_path / "hostile.pkl"
    for name, data in hostile(tmp_path / "canary").items():
        if name.startswith(("state", "defaults")):
            path.write_bytes(data)
            with pytest.raises(WeightsError):
                load_arrays(path)
    for stand_in in unpickle._ALLOWED.values():
        assert "evil" not in dir(stand_in)
    with pytest.raises(TypeError):
        unpickle._ALLOWED["_codecs", "encode"]("x")


def test_nested_sparse_matrices_take_no_exponential_time(tmp_path: Path) -> None:
    """Fields that a sparse matrix does not need are not looked at."""
    matrix = scipy.sparse.csc_matrix(np.eye(2))
    for _ in range(40):
        outer = scipy.sparse.csc_matrix(np.eye(2))
        outer.a = outer.b = matrix
        matrix = outer
    (tmp_path / "x.pkl").write_bytes(dumps(matrix))
    assert load_arrays(tmp_path / "x.pkl").shape == (2, 2)


def test_the_hostile_pickles_are_hostile(tmp_path: Path) -> None:
    """The canary is not dead: plain pickle runs several of them."""
    canary = tmp_path / "canary"
    for name in ("os.system", "posix.system by text", "builtins.exec", "nested in a dict", "STACK_GLOBAL"):
        pickle.loads(hostile(canary)[name])
        assert canary.exists(), name
        canary.unlink()


@pytest.mark.parametrize("data", [b"", b"\x80", b"garbage", b"\x80\x04K\x01", b"N", b"\x1f\x8b\x08"])
def test_no_pickle(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="no pickle of arrays"):
        load_arrays(path)


def test_zip_archive_is_no_pickle(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("data.pkl", dumps(Call(os.system, "true")))
    (tmp_path / "x.pkl").write_bytes(buffer.getvalue())
    with pytest.raises(WeightsError):
        load_arrays(tmp_path / "x.pkl")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be read: No such file"):
        load_arrays(tmp_path / "nothing.pkl")


def test_shared_references_do_not_multiply(tmp_path: Path) -> None:
    """A list of lists of lists ... that each hold the one below ten times: 10^30 leaves, thirty lists."""
    value: Any = [1]
    for _ in range(30):
        value = [value] * 10
    path = tmp_path / "x.pkl"
    path.write_bytes(dumps(value))
    read = load_arrays(path)
    assert read[0] is read[9]


numbers = st.sampled_from(["<f4", ">f4", "<f8", "<i4", ">i8", "|u1", "<u4", "|b1", "<f2"])


@settings(max_examples=60, deadline=None)
@given(numbers, st.lists(st.integers(0, 4), min_size=0, max_size=3), st.sampled_from("CF"), st.integers(0, 5))
def test_arrays_are_read_as_numpy_reads_them(
    tmp_path_factory: pytest.TempPathFactory, kind: str, shape: list[int], order: str, protocol: int
) -> None:
    array = np.asarray(np.arange(np.prod(shape)).reshape(shape) % 7, dtype=kind, order=order)
    path = tmp_path_factory.mktemp("pickle") / "x.pkl"
    path.write_bytes(dumps({"a": [array], "n": (1, 2.5, "s", None, True)}, protocol))
    read = load_arrays(path)
    np.testing.assert_array_equal(read["a"][0], array)
    assert read["a"][0].shape == array.shape
    assert read["a"][0].dtype == array.dtype.newbyteorder("=")
    assert read["n"] == (1, 2.5, "s", None, True)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("kind", ["csc", "csr"])
def test_sparse_matrices_are_read_as_scipy_reads_them(kind: str, protocol: int, tmp_path: Path) -> None:
    matrix = scipy.sparse.random(7, 5, density=0.4, format=kind, rng=np.random.default_rng(0))
    matrix = {"csc": scipy.sparse.csc_matrix, "csr": scipy.sparse.csr_matrix}[kind](matrix)
    path = tmp_path / "x.pkl"
    path.write_bytes(dumps(matrix, protocol))
    read = load_arrays(path)
    assert isinstance(read, SparseMatrix)
    dense = np.zeros(read.shape)
    dense[read.row, read.column] = read.value
    np.testing.assert_array_equal(dense, matrix.toarray())


@pytest.mark.reference_data
def test_the_authors_pickle_needs_only_what_is_allowed() -> None:
    data = (require_reference() / "faces" / "transform.pkl").read_bytes()
    assert any(opcode.name == "STACK_GLOBAL" for opcode, _, _ in pickletools.genops(data))
    tables = load_arrays(require_reference() / "faces" / "transform.pkl")
    assert {"vertices", "face", "down_transform", "up_transform"} <= tables.keys()
