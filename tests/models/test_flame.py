"""FLAME against the authors' goldens, its geometry, and its file."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.models import flame as module
from fantasyid_engine.models.flame import FORMAT, TABLES, Flame
from tests.face_goldens import flame_model, flame_parameters
from tests.goldens import assert_close, golden, relative_l2


@cache
def golden_tables() -> dict[str, Tensor]:
    theirs = flame_model()
    return {
        "template": theirs["v_template"],
        "shape_basis": theirs["shapedirs"][..., :100],
        "expression_basis": theirs["shapedirs"][..., 300:350],
        "pose_basis": theirs["posedirs"],
        "joint_regressor": theirs["J_regressor"],
        "skinning_weights": theirs["weights"],
        "faces": torch.tensor([[0, 1, 2], [5022, 4, 3]]),
    }


@cache
def flame() -> Flame:
    return Flame(golden_tables())


def small_tables(vertices: int = 12) -> dict[str, Tensor]:
    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    generator = torch.Generator().manual_seed(7)
    return {
        "template": 0.1 * noise(vertices, 3),
        "shape_basis": 0.01 * noise(vertices, 3, 4),
        "expression_basis": 0.01 * noise(vertices, 3, 2),
        "pose_basis": 0.01 * noise(vertices, 3, 36),
        "joint_regressor": torch.softmax(noise(5, vertices), 1),
        "skinning_weights": torch.softmax(noise(vertices, 5), 1),
        "faces": torch.arange(vertices, dtype=torch.int32).view(-1, 3),
    }


@torch.inference_mode()
@pytest.mark.reference_data
@pytest.mark.parametrize("row", [0, 1, 2], ids=["neutral", "turned", "turned far"])
def test_vertices_and_joints_match(row: int) -> None:
    parameters = [values[row : row + 1] for values in flame_parameters()]
    vertices, joints = flame().posed(*parameters)
    theirs = golden("faces/flame")
    assert_close("verts", vertices, theirs["verts"][row : row + 1], 1e-6)
    assert_close("joints", joints, theirs["joints"][row : row + 1], 1e-6)


@torch.inference_mode()
@pytest.mark.reference_data
def test_batch_matches() -> None:
    theirs = golden("faces/flame")
    assert_close("verts", flame()(*flame_parameters()), theirs["verts"], 1e-6)
    assert_close("neutral", flame().neutral(flame_parameters()[0][:1]), theirs["verts"][:1], 1e-6)


def tables_with(**changed: Tensor) -> Callable[[pytest.MonkeyPatch], Flame]:
    return lambda monkeypatch: Flame(golden_tables() | changed)


def jaw_as_neck(monkeypatch: pytest.MonkeyPatch) -> Flame:
    right = module._rotations

    def wrong(pose_B6: Tensor) -> list[Tensor]:
        head, neck, jaw, *eyes = right(pose_B6)
        return [head, jaw, neck, *eyes]

    monkeypatch.setattr(module, "_rotations", wrong)
    return flame()


def joints_of_the_template(monkeypatch: pytest.MonkeyPatch) -> Flame:
    right = module._chain
    joints_J3 = flame().joint_regressor @ flame().template
    monkeypatch.setattr(module, "_chain", lambda rotations, joints: right(rotations, joints_J3.expand_as(joints)))
    return flame()


def wrong_directions() -> Tensor:
    return flame_model()["shapedirs"][..., 100:150]


def transposed_features() -> Tensor:
    return flame_model()["posedirs"].unflatten(2, (4, 3, 3)).mT.flatten(2)


MUTATIONS: dict[str, tuple[Callable[[pytest.MonkeyPatch], Flame], float, float]] = {
    "expression basis 100:150": (lambda m: tables_with(expression_basis=wrong_directions())(m), 0.3, 0.3),
    "no pose correctives": (lambda m: tables_with(pose_basis=torch.zeros(5023, 3, 36))(m), 5e-3, 5e-2),
    "transposed pose feature": (lambda m: tables_with(pose_basis=transposed_features())(m), 1e-2, 2e-2),
    "jaw used as neck": (jaw_as_neck, 0.1, 1.0),
    "joints from the unshaped template": (joints_of_the_template, 2e-2, 5e-2),
}


@torch.inference_mode()
@pytest.mark.reference_data
@pytest.mark.parametrize("name", MUTATIONS)
def test_wrong_readings_show(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, *changes = MUTATIONS[name]
    made, theirs = make(monkeypatch)(*flame_parameters()), golden("faces/flame")["verts"]
    for row, change in enumerate(changes, start=1):
        assert relative_l2(made[row], theirs[row]) > change, f"set {row}"


angles = st.floats(-3, 3, width=32)


@settings(max_examples=40, deadline=None)
@given(st.lists(angles, min_size=3, max_size=3))
@torch.inference_mode()
def test_the_head_turns_as_one_about_its_root(axis: list[float]) -> None:
    """R_0 has no corrective and moves all joints, so it is one rotation of all, here a matrix exponential."""
    net, shape, expression = Flame(small_tables()), torch.ones(1, 4), torch.ones(1, 2)
    still, joints = net.posed(shape, expression, torch.zeros(1, 6))
    moved, _ = net.posed(shape, expression, torch.tensor([[*axis, 0, 0, 0]]))
    x, y, z = torch.tensor(axis, dtype=torch.float64)
    zero = torch.zeros((), dtype=torch.float64)
    rotation = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3).matrix_exp()
    root = joints[:, :1].double()
    torch.testing.assert_close(moved.double(), (still - root) @ rotation.T + root, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_the_jaw_moves_what_hangs_on_it_alone() -> None:
    """Vertices of the root stay; those of the jaw turn about its joint, which itself stays."""
    tables = small_tables()
    tables["skinning_weights"] = torch.eye(5)[[0] * 6 + [2] * 6]
    tables["pose_basis"] = torch.zeros(12, 3, 36)
    net = Flame(tables)
    still, joints = net.posed(torch.zeros(1, 4), torch.zeros(1, 2), torch.zeros(1, 6))
    turn = torch.tensor([[0, 0, 0, 0.4, 0, 0]])
    moved, moved_joints = net.posed(torch.zeros(1, 4), torch.zeros(1, 2), turn)
    torch.testing.assert_close(moved[:, :6], still[:, :6], rtol=0, atol=1e-7)
    torch.testing.assert_close(moved_joints, joints, rtol=0, atol=1e-7)
    away = (moved - joints[:, 2:3])[:, 6:].norm(dim=2)
    torch.testing.assert_close(away, (still - joints[:, 2:3])[:, 6:].norm(dim=2), rtol=1e-5, atol=1e-7)
    assert (moved - still)[:, 6:].norm(dim=2).min() > 1e-3


@torch.inference_mode()
def test_no_pose_and_no_expression_is_the_neutral_head() -> None:
    net, shape = Flame(small_tables()), torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    made = net(shape, torch.zeros(3, 2), torch.zeros(3, 6))
    torch.testing.assert_close(made, net.neutral(shape), rtol=0, atol=1e-7)
    assert torch.equal(net.neutral(torch.zeros(1, 4))[0], net.template)


@torch.inference_mode()
def test_stays_float32() -> None:
    """Under autocast, and with coefficients of half precision."""
    net, pose = Flame(small_tables()), torch.full((1, 6), 0.5)
    expected = net(torch.ones(1, 4), torch.ones(1, 2), pose)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(net(torch.ones(1, 4), torch.ones(1, 2), pose), expected)
    assert torch.equal(net(torch.ones(1, 4).half(), torch.ones(1, 2).half(), pose.half()), expected)
    assert expected.dtype == torch.float32


@torch.inference_mode()
def test_exports_as_one_graph() -> None:
    net, inputs = Flame(small_tables()), (torch.ones(1, 4), torch.ones(1, 2), torch.full((1, 6), 0.5))
    torch.testing.assert_close(torch.export.export(net, inputs).module()(*inputs), net(*inputs))


def test_tables_are_stored_and_no_parameters() -> None:
    net = Flame(small_tables())
    assert list(net.state_dict()) == list(TABLES)
    assert not list(net.parameters())
    assert {name for name, table in net.named_buffers() if table.dtype == torch.int32} == {"faces"}


@pytest.mark.parametrize("vertices", [3, 12, 60])
def test_file_comes_back_as_it_was(tmp_path: Path, vertices: int) -> None:
    net = Flame(small_tables(vertices))
    net.save(tmp_path / "flame.safetensors")
    read = Flame.load(tmp_path / "flame.safetensors")
    assert read.state_dict().keys() == net.state_dict().keys()
    assert all(torch.equal(read.get_buffer(name), table) for name, table in net.named_buffers())


DAMAGES: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "it has no table 'pose_basis'": lambda t: t.pop("pose_basis"),
    "it has no table 'faces'": lambda t: t.pop("faces"),
    "template is 12, not V x 3": lambda t: t.update({"template": torch.zeros(12)}),
    "template is a number, not V x 3": lambda t: t.update({"template": torch.tensor(1.0)}),
    "template is 0 x 3, not V x 3": lambda t: t.update({"template": torch.zeros(0, 3)}),
    "shape_basis is 11 x 3 x 4, not 12 x 3 x n": lambda t: t.update({"shape_basis": torch.zeros(11, 3, 4)}),
    "expression_basis is 12 x 3 x 0, not 12 x 3 x m": lambda t: t.update({"expression_basis": torch.zeros(12, 3, 0)}),
    "pose_basis is 12 x 3 x 35, not 12 x 3 x 36": lambda t: t.update({"pose_basis": torch.zeros(12, 3, 35)}),
    "joint_regressor is 12 x 5, not 5 x 12": lambda t: t.update({"joint_regressor": torch.full((12, 5), 0.2)}),
    "skinning_weights is 12 x 4, not 12 x 5": lambda t: t.update({"skinning_weights": torch.full((12, 4), 0.25)}),
    "faces is 4 x 4, not 4 x 3": lambda t: t.update({"faces": torch.zeros(4, 4, dtype=torch.int32)}),
    "faces is of type torch.float32": lambda t: t.update({"faces": t["faces"].float()}),
    "faces points outside the 12 vertices": lambda t: t["faces"].fill_(12),
    "template holds values that are no finite": lambda t: t["template"].fill_(float("nan")),
    "pose_basis holds values that are no finite": lambda t: t["pose_basis"].fill_(float("inf")),
    "joint_regressor has rows that do not add up to 1": lambda t: t["joint_regressor"][3].mul_(1.05),
    "skinning_weights has rows that do not add up to 1": lambda t: t["skinning_weights"][0].mul_(0.9),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_file_is_one_error(tmp_path: Path, message: str) -> None:
    path = tmp_path / "flame.safetensors"
    Flame(small_tables()).save(path)
    tables = load_file(path)
    DAMAGES[message](tables)
    save_file(tables, path, metadata={"format": FORMAT})
    with pytest.raises(ValueError) as error:
        Flame.load(path)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("metadata", [None, {"format": "fantasyid-mesh-1"}])
def test_file_of_another_format(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file(small_tables(), tmp_path / "flame.safetensors", metadata=metadata)
    with pytest.raises(ValueError, match="its format is not fantasyid-flame-1"):
        Flame.load(tmp_path / "flame.safetensors")


def test_indices_that_wrap_are_refused() -> None:
    """2^32 is 0 as int32."""
    tables = small_tables()
    tables["faces"] = torch.full((1, 3), 2**32)
    with pytest.raises(ValueError, match="points outside"):
        Flame(tables)
