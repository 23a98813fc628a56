"""The stub of the native module names what its classes have, and nothing else."""

import ast
from pathlib import Path

import pytest

from fantasyid_engine import _native

STUB = Path(__file__).parents[2] / "csrc" / "_native.pyi"
CLASSES = {node.name: node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("name", ["TilePlan", "TileBlender"])
def test_members_of(name: str) -> None:
    told = {node.name for node in CLASSES[name].body if isinstance(node, ast.FunctionDef)}
    native = getattr(_native, name)
    assert {member for member in dir(native) if not member.startswith("_")} == {
        member for member in told if not member.startswith("_")
    }
    assert {member for member in told if member.startswith("_")} <= set(vars(native))
