"""The avatars' head as a model's mesh: the sphere's tables, offsets of unit deviation, and a model fitted to both."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.config.schema import MeshConfig, NetworkConfig, ShapeConfig
from fantasyid_engine.face.vertices import decode_vertices
from fantasyid_engine.models.icosphere import icosphere_hierarchy
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.spirals import build_spirals
from fantasyid_engine.training.avatar.head import SHAPE, make_head
from fantasyid_engine.training.avatar.mesh import avatar_hierarchy, fit_to_avatars, offset_deviation, shape_basis
from fantasyid_engine.training.avatar.person import draw_person
from fantasyid_engine.weights.model import Model, load_model, save_model
from fantasyid_engine.weights.untrained import untrained_model
from tests.face.plys import ply
from tests.whole_model import write_released_model

CONFIG = MeshConfig(levels=(642, 162, 42), spiral_length=9)
HEAD = make_head()


def avatar_model(**changes: object) -> Model:
    """The miniature with a shape regressor, on the avatars' mesh."""
    mini = MINIATURES["avatar-mini"]
    network: NetworkConfig = replace(mini.network, shape=ShapeConfig(names=SHAPE, hidden_dim=8))
    network = replace(network, **changes)  # pyright: ignore[reportArgumentType]
    config = replace(mini, network=network)
    return untrained_model("avatars", config, seed=2, hierarchy=avatar_hierarchy(CONFIG))


@pytest.fixture(scope="module")
def fitted() -> Model:
    model = avatar_model()
    fit_to_avatars(model)
    return model


def people(count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    return np.stack([draw_person(rng).shape for _ in range(count)])


def test_is_the_head() -> None:
    made = avatar_hierarchy(CONFIG)
    made.check(CONFIG)
    assert made.template.dtype == torch.float32
    np.testing.assert_allclose(made.template.numpy(), HEAD.template, rtol=0, atol=1e-8)
    assert np.array_equal(made.faces.numpy(), HEAD.faces)
    assert torch.equal(made.coarse_index, torch.arange(42, dtype=torch.int32))


@pytest.mark.parametrize("length", [7, 9, 20])
def test_spirals_are_the_heads_own(length: int) -> None:
    """Built on the head's positions they are the same, on the sphere's coarse triangles too."""
    made = avatar_hierarchy(replace(CONFIG, spiral_length=length))
    assert np.array_equal(made.spirals[0].numpy(), build_spirals(HEAD.template, HEAD.faces, length))
    coarse = icosphere_hierarchy(MeshConfig(levels=(162, 42, 12), spiral_length=length)).faces.numpy()
    expected = build_spirals(HEAD.template[:162], coarse.astype(np.int64), length)
    assert np.array_equal(made.spirals[1].numpy(), expected)


def test_up_and_down_are_of_neighbours() -> None:
    """Coarse vertices are the head's first; a new one lies near the middle of the two that it is made from."""
    made = avatar_hierarchy(CONFIG)
    for table, (fine, coarse) in zip(made.up, ((642, 162), (162, 42)), strict=True):
        raised = (made.template[:coarse][table.index.long()] * table.value[..., None]).sum(1)
        off = (raised - made.template[:fine]).norm(dim=1)
        assert off[:coarse].max() == 0 and off.max() < 0.025 and off.mean() < 0.006


def test_saves_and_loads(tmp_path: Path) -> None:
    avatar_hierarchy(CONFIG).save(tmp_path / "mesh.safetensors")
    assert torch.equal(MeshHierarchy.load(tmp_path / "mesh.safetensors").template, avatar_hierarchy(CONFIG).template)


@pytest.mark.parametrize("levels", [(162, 42, 12), (642, 162, 43), (2562, 642, 162)], ids=str)
def test_other_sizes(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the head of avatars has") as error:
        avatar_hierarchy(MeshConfig(levels=levels))
    assert str(levels) in str(error.value)


def test_people_are_the_basis() -> None:
    basis, shapes = shape_basis(), people(5)
    assert basis.shape == (len(SHAPE), 642, 3) and basis.dtype == torch.float32
    assert np.array_equal(basis.numpy(), HEAD.shape_basis.astype(np.float32))
    for shape in shapes:
        moved = np.tensordot(shape, basis.double().numpy(), axes=1)
        np.testing.assert_allclose(HEAD.template + moved, HEAD.vertices(shape), rtol=0, atol=1e-8)


def test_offsets_of_people_have_unit_deviation() -> None:
    """Within a twentieth, of which the cut of draws at 2.2 takes a fortieth; and the mean is the template."""
    offsets = np.tensordot(people(2000), HEAD.shape_basis, axes=1) / offset_deviation()
    assert np.sqrt(np.square(offsets).mean()) == pytest.approx(1, abs=0.05)
    assert np.abs(offsets.mean(0)).max() < 0.2


def test_fitted_model_makes_people_of_coefficients(fitted: Model) -> None:
    """In metres, in the order of SHAPE, as the avatar world makes them."""
    shape, net = fitted.network.shape, fitted.network.conditioner.vertex_net
    assert shape is not None and shape.config.names == SHAPE
    shapes = people(3)
    made = shape.vertices(torch.from_numpy(shapes))
    for vertices, numbers in zip(made, shapes, strict=True):
        np.testing.assert_allclose(vertices.numpy(), HEAD.vertices(numbers), rtol=0, atol=3e-8)
    assert torch.equal(net.template, fitted.hierarchy.template)
    assert net.sigma.tolist() == pytest.approx([offset_deviation()])
    assert not any(p.requires_grad for p in fitted.network.parameters())
    seen = []
    hook = net.encoder.register_forward_hook(lambda module, args, output: seen.append(args[0].numpy()))
    net(torch.zeros(3, 16, 128), made)
    hook.remove()
    offsets = np.tensordot(shapes, HEAD.shape_basis, axes=1) / offset_deviation()
    np.testing.assert_allclose(seen[0], offsets, rtol=0, atol=2e-5)


def test_only_buffers_are_fitted(fitted: Model) -> None:
    """The weights are those of the seed."""
    state, before = fitted.network.state_dict(), avatar_model().network.state_dict()
    changed = {name for name in state if not torch.equal(state[name], before[name])}
    assert changed == {"conditioner.vertex_net.sigma", "shape.basis"}


def test_people_are_taken_as_vertices_of_the_model(fitted: Model) -> None:
    """The checks that a request's vertex file goes through."""
    for shape in people(20):
        vertices = HEAD.vertices(shape).astype(np.float32)
        assert np.array_equal(decode_vertices(ply(vertices), "a.ply", fitted.hierarchy).numpy(), vertices)


def test_round_trip(fitted: Model, tmp_path: Path) -> None:
    save_model(fitted, tmp_path / "model")
    loaded = load_model(tmp_path / "model", dtype=torch.float32)
    state, expected = loaded.network.state_dict(), fitted.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in state.items())
    assert torch.equal(loaded.hierarchy.template, fitted.hierarchy.template)


def test_models_without_a_part() -> None:
    """No regressor, no vertices: what is there is fitted."""
    without_shape = avatar_model(shape=None)
    fit_to_avatars(without_shape)
    assert without_shape.network.conditioner.vertex_net.sigma.item() == pytest.approx(offset_deviation())
    conditioner = replace(MINIATURES["avatar-mini"].network.conditioner, face_vertices=False)
    without_vertices = avatar_model(conditioner=conditioner)
    fit_to_avatars(without_vertices)
    assert without_vertices.network.shape is not None
    assert torch.equal(without_vertices.network.shape.basis, shape_basis())


def test_models_that_are_not_avatars(tmp_path: Path) -> None:
    config = MINIATURES["avatar-mini"]
    with pytest.raises(ValueError, match="not on the mesh of avatars"):
        fit_to_avatars(untrained_model("x", config))
    named = avatar_model(shape=ShapeConfig(names=SHAPE[::-1]))
    with pytest.raises(ValueError, match="shape directions"):
        fit_to_avatars(named)
    assert named.network.conditioner.vertex_net.sigma.item() == 1, "nothing is changed"
    released = load_model(write_released_model(tmp_path / "model"), dtype=torch.float32)
    with pytest.raises(ValueError, match="released form"):
        fit_to_avatars(released)


def test_hierarchy_of_another_size() -> None:
    config = MINIATURES["avatar-mini"]
    mesh = replace(config, network=replace(config.network, mesh=MeshConfig(levels=(162, 42, 12), spiral_length=7)))
    with pytest.raises(ValueError, match="mesh hierarchy with levels"):
        untrained_model("x", mesh, hierarchy=avatar_hierarchy(CONFIG))
