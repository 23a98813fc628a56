"""FLAME's pickle as Python 2 and 3 write it, with chumpy's variables in it: read without chumpy, and nothing runs."""

import os
import pickle
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.weights.flame_pickle import flame_from_pickle
from fantasyid_engine.weights.unpickle import load_arrays
from tests.face_goldens import flame_model, flame_parameters
from tests.goldens import assert_close, golden
from tests.weights.flame_files import VARIABLES, WRITERS, Ch, Python2, Select, chumpy, dumps, model, with_variables


def assert_is(flame: Flame, tables: dict[str, Any]) -> None:
    expected = {
        "template": tables["v_template"],
        "shape_basis": tables["shapedirs"][..., :100],
        "expression_basis": tables["shapedirs"][..., 300:350],
        "pose_basis": tables["posedirs"],
        "joint_regressor": tables["J_regressor"].toarray(),
        "skinning_weights": tables["weights"],
        "faces": tables["f"],
    }
    for name, array in expected.items():
        np.testing.assert_array_equal(flame.get_buffer(name), array.astype(np.float32), err_msg=name)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("wrap", [with_variables, dict], ids=["chumpy", "plain arrays"])
def test_reads_what_any_python_writes(tmp_path: Path, writer: str, wrap: Callable[[Any], Any]) -> None:
    path, tables = tmp_path / "generic_model.pkl", model()
    path.write_bytes(WRITERS[writer](wrap(tables)))
    assert_is(flame_from_pickle(path), tables)
    assert "chumpy" not in sys.modules


def test_the_python_2_files_are_such() -> None:
    """Python's own reader takes them for the same values, where chumpy is."""
    for protocol in range(3):
        data = Python2(protocol).dumps(with_variables(model()))
        assert data[:2] == (b"\x80\x02" if protocol == 2 else b"(d" if protocol == 0 else b"}r")
        assert (b"copy_reg" in data) == (protocol < 2)
        with chumpy():
            made = pickle.loads(data.replace(b"scipy.sparse.csc\n", b"scipy.sparse\n"), encoding="latin1")
        for name, value in model().items():
            theirs = made[name].x if name in VARIABLES else made[name]
            if isinstance(value, scipy.sparse.csc_matrix):
                theirs, value = theirs.toarray(), value.toarray()
            np.testing.assert_array_equal(theirs, value)


@torch.inference_mode()
@pytest.mark.reference_data
@pytest.mark.parametrize("writer", ["Python 3, protocol 2", "Python 2, protocol 2"])
def test_goldens_through_a_converted_file(tmp_path: Path, writer: str) -> None:
    tables: dict[str, Any] = {name: value.double().numpy() for name, value in flame_model().items()}
    tables["J_regressor"] = scipy.sparse.csc_matrix(tables["J_regressor"])
    tables["f"] = np.zeros((1, 3), dtype=np.uint32)
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(WRITERS[writer](with_variables(tables)))
    flame_from_pickle(path).save(tmp_path / "flame.safetensors")
    vertices, joints = Flame.load(tmp_path / "flame.safetensors").posed(*flame_parameters())
    assert_close("verts", vertices, golden("faces/flame")["verts"], 1e-6)
    assert_close("joints", joints, golden("faces/flame")["joints"], 1e-6)


def changed(**changes: Any) -> dict[str, Any]:
    return model() | changes


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in model().items() if key != name}


def wide_regressor() -> Any:
    """Says that it has 2^40 columns, which nobody must make room for."""
    matrix = scipy.sparse.csr_matrix((5, 6))
    matrix._shape = (5, 2**40)
    return matrix


NO_MODELS: dict[str, tuple[Any, str]] = {
    "a list": ([1, 2], "is no FLAME model"),
    "no template": (without("v_template"), "it has no table 'v_template'"),
    "no faces": (without("f"), "it has no table 'f'"),
    "no regressor": (without("J_regressor"), "it has no table 'J_regressor'"),
    "few directions": (changed(shapedirs=np.zeros((6, 3, 150))), "shapedirs is 6 x 3 x 150, not V x 3 x 400"),
    "directions of another mesh": (changed(shapedirs=np.zeros((5, 3, 400))), "shape_basis is 5 x 3 x 100, not 6 x"),
    "a variable of another shape": (changed(posedirs=Ch(np.zeros((6, 3, 207)))), "pose_basis is 6 x 3 x 207"),
    "a body": (changed(kintree_table=np.zeros((2, 24), dtype=np.uint32)), "its joints are not root, neck, jaw"),
    "other parents": (changed(kintree_table=np.zeros((2, 5), dtype=np.int64)), "its joints are not root"),
    "joints of floats": (changed(kintree_table=np.zeros((2, 5))), "kintree_table is no array of integers"),
    "a template of words": (changed(v_template="words"), "v_template is no array of floats"),
    "a template of integers": (changed(v_template=np.zeros((6, 3), dtype=int)), "v_template is no array of floats"),
    "a template of one number": (changed(v_template=np.array(1.0)), "v_template is no array of floats"),
    "a flat template": (changed(v_template=np.zeros(6)), "template is 6, not V x 3"),
    "faces of floats": (changed(f=np.zeros((2, 3))), "f is no array of integers"),
    "faces that point outside": (changed(f=np.full((2, 3), 6, dtype=np.uint32)), "faces points outside the 6 vertices"),
    "faces that wrap": (changed(f=np.full((2, 3), 2**32, dtype=np.uint64)), "faces points outside"),
    "a regressor of another size": (changed(J_regressor=scipy.sparse.csc_matrix((5, 7))), "no matrix of 5 x 6"),
    "a regressor of another dense size": (changed(J_regressor=np.full((5, 7), 1 / 7)), "joint_regressor is 5 x 7"),
    "a regressor of no sparse kind": (changed(J_regressor=[1, 2]), "J_regressor is no matrix of 5 x 6"),
    "a very wide regressor": (changed(J_regressor=wide_regressor()), "J_regressor is no matrix of 5 x 6"),
    "an empty regressor": (changed(J_regressor=scipy.sparse.csc_matrix((5, 6))), "rows that do not add up to 1"),
    "numbers too large": (changed(posedirs=np.full((6, 3, 36), 1e300)), "pose_basis holds values that are no finite"),
    "no numbers": (changed(weights=np.full((6, 5), np.nan)), "skinning_weights holds values that are no finite"),
}


@pytest.mark.parametrize("name", NO_MODELS)
def test_what_is_no_model_is_one_error(tmp_path: Path, name: str) -> None:
    tables, message = NO_MODELS[name]
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(dumps(tables, 2))
    with pytest.raises(WeightsError, match=r"generic_model\.pkl is no FLAME model") as error:
        flame_from_pickle(path)
    assert message in str(error.value) and str(error.value).isprintable()


class Call:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts[0], self.parts[1:]


def bare(**state: Any) -> Ch:
    made = Ch(None)
    vars(made).clear()
    vars(made).update(state)
    return made


def in_itself() -> Ch:
    made = bare()
    made.x = made
    return made


CH = b"cchumpy.ch\nCh\n"
OBJECT = b"c__builtin__\nobject\n"
RECONSTRUCT = b"ccopy_reg\n_reconstructor\n"
HOSTILE: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda command: dumps({"v_template": Call(os.system, command)}, 2),
    "os.system as a variable's array": lambda command: dumps(bare(x=Call(os.system, command)), 2),
    "os.system among a variable's notes": lambda command: dumps(bare(x=np.zeros(1), _itr=Call(os.system, command)), 2),
    "os.system, made anew": lambda command: RECONSTRUCT + b"(cos\nsystem\n" + OBJECT + b"NtR.",
    "os.system as base": lambda command: RECONSTRUCT + b"(" + CH + b"cos\nsystem\nS'" + command.encode() + b"'\ntR.",
    "a variable with a base that acts": lambda _: RECONSTRUCT + b"(" + CH + CH + b"NtR.",
    "a variable with a base's state": lambda _: RECONSTRUCT + b"(" + CH + OBJECT + b"S'x'\ntR.",
    "an encoder, made anew": lambda _: RECONSTRUCT + b"(c_codecs\nencode\n" + OBJECT + b"NtR.",
    "a set, made anew": lambda _: RECONSTRUCT + b"(c__builtin__\nset\n" + OBJECT + b"NtR.",
    "an array, made anew": lambda _: RECONSTRUCT + b"(cnumpy\nndarray\n" + OBJECT + b"NtR.",
    "an object": lambda _: OBJECT + b".",
    "a new object": lambda _: OBJECT + b")\x81.",
    "an object that is called": lambda _: OBJECT + b")R.",
    "state for an object": lambda _: OBJECT + b"}S'evil'\nI1\nsb.",
    "slots for an object": lambda _: OBJECT + b"(N}S'evil'\nI1\nstb.",
    "state for a variable's class": lambda _: CH + b"}S'evil'\nI1\nsb.",
    "state for the one that makes anew": lambda _: RECONSTRUCT + b"}S'evil'\nI1\nsb.",
    "a class of variables": lambda _: CH + b".",
    "a set": lambda _: b"c__builtin__\nset\n((ltR.",
    "a set of today": lambda _: dumps({1, 2}, 4),
    "a variable without state": lambda _: CH + b")\x81.",
    "a variable without its array": lambda _: dumps(bare(_itr=None), 2),
    "a variable of nothing": lambda _: dumps(bare(x=None), 2),
    "a variable of a list": lambda _: dumps(bare(x=[1.0, 2.0]), 2),
    "a variable of objects": lambda _: dumps(bare(x=np.array([None])), 2),
    "a variable whose state is a list": lambda _: CH + b")\x81]b.",
    "a variable in itself": lambda _: dumps(in_itself(), 2),
    "variables in variables": lambda _: (CH + b")\x81}S'x'\n") * 100_000 + b"N" + b"sb" * 100_000 + b".",
    "text for bytes": lambda _: text_for_bytes(),
    "text that shares its bytes": lambda _: shared_text(),
    "memo far larger than the file": lambda _: b"\x80\x02" + CH + b")\x81r\x00\x00\x00\x10.",
    "memo beside Latin-1": lambda _: b"S'\\xff'\nr\x00\x00\x00\x10.",
    "memo by text": lambda _: b"S'\\xff'\np99999999\n.",
    "a string without an end": lambda _: b"S'abc",
    "chumpy's system": lambda _: b"cchumpy.ch\nCh.__init__\n.",
}


def array_of(raw: bytes, count: int) -> bytes:
    dtype = b"cnumpy\ndtype\n(S'f8'\nI0\nI1\ntR(I3\nS'>'\nNNNI-1\nI-1\nI0\ntb"
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    return made + b"(I1\n(I" + str(count).encode() + b"\nt" + dtype + b"I00\n" + raw + b"tb"


def text_for_bytes() -> bytes:
    """Characters that no byte is."""
    return array_of(b"V" + b"\\u1234" * 8 + b"\n", 1) + b"."


def shared_text() -> bytes:
    """One string of ten kilobytes, as the bytes of a hundred arrays whose order must be turned."""
    first = array_of(b"T" + struct.pack("<i", 8000) + bytes(8000) + b"q\x07", 1000)
    return b"(" + first + array_of(b"h\x07", 1000) * 100 + b"l."


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / "generic_model.pkl"
    path.write_bytes(HOSTILE[name](f"touch {canary}"))
    with pytest.raises(WeightsError, match=r"pkl is (refused: .+ only numbers|no pickle of arrays)") as error:
        load_arrays(path)
    assert str(error.value).isprintable() and len(str(error.value)) < 400
    assert not canary.exists()


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_an_expression_that_nobody_needs(tmp_path: Path, protocol: int) -> None:
    """Such as the joints of the template, which follow from the regressor."""
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(dumps(changed(J=Select(Ch(np.zeros(3)), np.zeros(1))), protocol))
    assert len(flame_from_pickle(path).template) == len(changed()["v_template"])


def test_expressions_of_chumpy_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(dumps(changed(shapedirs=Select(Ch(np.zeros(3)), np.zeros(1))), 2))
    with pytest.raises(WeightsError, match=r"shapedirs is an expression of chumpy; save its value"):
        flame_from_pickle(path)


@pytest.mark.parametrize("writer", ["Python 3, protocol 4", "Python 2, protocol 0", "Python 2, protocol 2"])
def test_truncated_file_is_one_error(tmp_path: Path, writer: str) -> None:
    """Cut at the start, at each opcode near there, and at every 257th byte."""
    path, data = tmp_path / "generic_model.pkl", WRITERS[writer](with_variables(model()))
    for end in [*range(200), *range(200, len(data), 257), len(data) - 1]:
        path.write_bytes(data[:end])
        with pytest.raises(WeightsError, match=r"generic_model\.pkl is (refused|no )"):
            flame_from_pickle(path)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(WRITERS)), st.lists(st.tuples(st.integers(0, 2**30), st.integers(0, 255)), min_size=1))
def test_damaged_file_is_tables_or_one_error(
    tmp_path_factory: pytest.TempPathFactory, writer: str, damages: list[tuple[int, int]]
) -> None:
    """With few numbers in it, so that damage meets the rest."""
    tables = {name: value for name, value in model(3).items() if name not in ("shapedirs", "posedirs")}
    data = bytearray(WRITERS[writer](with_variables(tables)))
    for place, byte in damages:
        data[place % len(data)] = byte
    path = tmp_path_factory.mktemp("damaged") / "generic_model.pkl"
    path.write_bytes(data)
    with suppress(WeightsError):
        load_arrays(path)
    with pytest.raises(WeightsError) as error:
        flame_from_pickle(path)
    assert str(error.value).isprintable()
