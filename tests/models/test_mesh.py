"""Spirals, hierarchies and their file, on the FLAME topology and on meshes of all kinds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.mesh import FORMAT, MeshHierarchy, SampleTable
from fantasyid_engine.models.mesh_build import build_hierarchy
from fantasyid_engine.models.spirals import build_spirals, rings
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.folder import load_hierarchy
from tests.goldens import golden, require_reference
from tests.small import MESH, hierarchy, sphere


def dense(table: SampleTable, columns: int) -> Tensor:
    matrix = torch.zeros(len(table.index), columns, dtype=torch.float64)
    return matrix.scatter_add(1, table.index.long(), table.value.double())


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> MeshHierarchy:
    path = tmp_path_factory.mktemp("mesh") / "mesh.safetensors"
    convert(require_reference() / "faces" / "transform.pkl", path)
    return load_hierarchy(path, MeshConfig())


@pytest.mark.reference_data
def test_authors_spirals_are_identical(converted: MeshHierarchy) -> None:
    for level in (0, 1):
        assert torch.equal(converted.spirals[level], golden("mesh")[f"spiral.{level}"])


@pytest.mark.reference_data
def test_authors_coarse_vertices_are_identical(converted: MeshHierarchy) -> None:
    assert torch.equal(converted.coarse_index, golden("mesh")["coarse_index"])


@pytest.mark.reference_data
@pytest.mark.parametrize("level", [0, 1])
def test_authors_sampling_is_identical(converted: MeshHierarchy, level: int) -> None:
    expected, levels = golden("mesh"), converted.levels
    for name, table, columns in (
        ("down", converted.down[level], levels[level]),
        ("up", converted.up[level], levels[level + 1]),
    ):
        matrix = dense(table, columns)
        rows, cols = expected[f"{name}.{level}.row"].long(), expected[f"{name}.{level}.col"].long()
        theirs = torch.zeros_like(matrix).index_put((rows, cols), expected[f"{name}.{level}.value"].double())
        assert torch.equal(matrix, theirs)


@pytest.mark.reference_data
def test_own_hierarchy_of_the_authors_mesh(converted: MeshHierarchy) -> None:
    """Our own decimation of that template: same sizes, and up-sampling the template errs by under a millimetre."""
    ours = build_hierarchy(converted.template, converted.faces, MeshConfig())
    assert ours.levels == (5023, 1256, 314)
    coarse = converted.template[ours.down[0].index[:, 0].long()]
    up = (coarse[ours.up[0].index.long()] * ours.up[0].value[..., None]).sum(1)
    assert (up - converted.template).norm(dim=1).mean() < 1e-3


def hexagon_fan() -> tuple[np.ndarray, np.ndarray]:
    """Vertex 0 inside a hexagon 1..6, counter-clockwise."""
    angle = np.arange(6) * np.pi / 3
    points = np.vstack([[0, 0, 0], np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)])
    return points, np.array([[0, i, i % 6 + 1] for i in range(1, 7)])


def test_closed_ring_runs_clockwise_from_the_last_face() -> None:
    _, faces = hexagon_fan()
    ring = rings(7, [tuple(face) for face in faces.tolist()])
    assert ring[0] == [6, 5, 4, 3, 2, 1]  # the last face is (0, 6, 1)


def test_open_ring_starts_at_the_border() -> None:
    _, faces = hexagon_fan()
    ring = rings(7, [tuple(face) for face in faces.tolist()])
    assert ring[1] == [6, 0, 2]


def test_next_ring_follows_the_last_one() -> None:
    points, faces = sphere(42)
    spirals = build_spirals(points.numpy(), faces.numpy(), 20)
    around = rings(42, [tuple(face) for face in faces.tolist()])
    for vertex, spiral in enumerate(spirals.tolist()):
        ring = around[vertex]
        assert spiral[: len(ring) + 1] == [vertex, *ring]
        second = set().union(*(around[other] for other in ring)) - {vertex, *ring}
        assert set(spiral[len(ring) + 1 : len(ring) + 1 + len(second)]) <= second | set(spiral[-1:])


def test_second_fan_follows_the_first() -> None:
    """A vertex where two fans touch keeps all its neighbours."""
    ring = rings(5, [(0, 1, 2), (0, 3, 4)])[0]
    assert sorted(ring) == [1, 2, 3, 4]


def test_repeated_and_degenerate_faces_are_dropped() -> None:
    assert rings(4, [(0, 1, 2), (0, 1, 3), (1, 1, 2)])[0] == [2, 1]


def test_small_component_is_filled_with_the_nearest_vertices() -> None:
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 0, 0], [6, 0, 0], [5, 1, 0.0]])
    spirals = build_spirals(points, np.array([[0, 1, 2], [3, 4, 5]]), 5)
    assert spirals[0].tolist() == [0, 2, 1, 3, 5]
    assert all(len(set(spiral)) == 5 for spiral in spirals.tolist())


def test_fewer_vertices_than_a_spiral() -> None:
    with pytest.raises(ValueError, match="3 vertices has no spirals of 9"):
        build_spirals(np.zeros((3, 3)), np.array([[0, 1, 2]]), 9)


@settings(max_examples=25, deadline=None)
@given(
    count=st.integers(30, 400), shares=st.tuples(st.floats(0.2, 0.6), st.floats(0.3, 0.6)), length=st.integers(3, 12)
)
def test_any_mesh(count: int, shares: tuple[float, float], length: int) -> None:
    """Exact counts, true vertices, weights that are barycentric, spirals without repeats."""
    middle = max(12, int(count * shares[0]))
    coarse = max(6, int(middle * shares[1]))
    config = MeshConfig(levels=(count, middle, coarse), spiral_length=min(length, coarse))
    points, faces = sphere(count)
    made = build_hierarchy(points, faces, config)
    made.check(config)
    assert len(set(made.coarse_index.tolist())) == coarse
    for up in made.up:
        assert (up.value >= 0).all()
        torch.testing.assert_close(up.value.sum(1), torch.ones(len(up.value)))
    for spiral in made.spirals:
        assert all(len(set(row)) == config.spiral_length for row in spiral.tolist())
        assert torch.equal(spiral[:, 0], torch.arange(len(spiral), dtype=torch.int32))
    # A vertex that stays is itself after down and up.
    down, up = made.down[0].index[:, 0].long(), made.up[0]
    back = (points[down].float()[up.index.long()] * up.value[..., None]).sum(1)
    torch.testing.assert_close(back[down], points[down].float(), rtol=0, atol=1e-5)


def test_open_mesh_with_two_parts() -> None:
    """Borders and several components, as FLAME's neck and eyeballs."""
    points, faces = sphere(150)
    cap = faces[(points[faces][:, :, 2] > -0.6).all(1)]
    used, index = torch.unique(cap, return_inverse=True)
    other, other_faces = sphere(60)
    vertices = torch.cat([points[used], other * 0.2 + 3])
    triangles = torch.cat([index, other_faces + len(used)])
    config = MeshConfig(levels=(len(vertices), 60, 20), spiral_length=6)
    build_hierarchy(vertices, triangles, config).check(config)


def flat_grid(side: int) -> tuple[Tensor, Tensor]:
    """An open, flat sheet: picked vertices fall on lines."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    points = torch.stack([columns, rows, torch.zeros_like(rows)], dim=-1).reshape(-1, 3).double()
    corner = (rows * side + columns)[:-1, :-1].reshape(-1)
    lower = torch.stack([corner, corner + 1, corner + side], dim=1)
    upper = torch.stack([corner + 1, corner + side + 1, corner + side], dim=1)
    return points, torch.cat([lower, upper])


def hemisphere() -> tuple[Tensor, Tensor]:
    points, faces = sphere(1500)
    used, index = torch.unique(faces[(points[faces][:, :, 2] > 0).all(1)], return_inverse=True)
    return points[used], index


def ten_parts() -> tuple[Tensor, Tensor]:
    points, faces = sphere(12)
    vertices = torch.cat([points + 3 * i for i in range(10)])
    return vertices, torch.cat([faces + 12 * i for i in range(10)])


ODD_MESHES = {
    "flat 20x20": (flat_grid(20), (200, 100)),
    "flat 30x30": (flat_grid(30), (450, 225)),
    "flat 30x30, far down": (flat_grid(30), (200, 12)),
    "hemisphere": (hemisphere(), (100, 12)),
    "ten parts": (ten_parts(), (60, 40)),
}


@pytest.mark.parametrize("name", ODD_MESHES)
def test_odd_meshes(name: str) -> None:
    """Flat, open and many-part meshes: exact counts, barycentric weights, and a file that the loader takes."""
    (points, faces), coarser = ODD_MESHES[name]
    config = MeshConfig(levels=(len(points), *coarser), spiral_length=5)
    made = build_hierarchy(points, faces, config)
    made.check(config)
    made._check_tables()
    for up in made.up:
        assert (up.value >= 0).all()
        torch.testing.assert_close(up.value.sum(1), torch.ones(len(up.value)))


def test_faces_outside_are_refused() -> None:
    points, faces = sphere(162)
    with pytest.raises(ValueError, match="faces that point outside the 162 vertices"):
        build_hierarchy(points, faces + 1, MESH)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ((163, 42, 12), "162 vertices; the finest level has 163"),
        ((162, 42, 2), "cannot be decimated to 2 vertices"),
    ],
)
def test_build_refuses(levels: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_hierarchy(*sphere(162), MeshConfig(levels=levels, spiral_length=2))


def test_unused_vertex_is_refused() -> None:
    points, faces = sphere(161)
    with pytest.raises(ValueError, match="1 vertices of the mesh are in no face"):
        build_hierarchy(torch.cat([points, torch.zeros(1, 3)]), faces, MESH)


def test_file_round_trip(tmp_path: Path) -> None:
    made, path = hierarchy(), tmp_path / "mesh.safetensors"
    made.save(path)
    read = MeshHierarchy.load(path)
    assert read.levels == MESH.levels
    before, after = ([*h.spirals, h.faces, h.template] for h in (made, read))
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other)
    for one, other in zip([*made.down, *made.up], [*read.down, *read.up], strict=True):
        assert torch.equal(one.index, other.index) and torch.equal(one.value, other.value)


DAMAGES: dict[str, Callable[[dict[str, Tensor]], object]] = {
    "it has no table 'up.1.value'": lambda t: t.pop("up.1.value"),
    "it has no table 'faces'": lambda t: t.pop("faces"),
    "spiral.0 points outside the 162": lambda t: t["spiral.0"].fill_(162),
    "down.1.index points outside the 42": lambda t: t["down.1.index"].fill_(-1),
    "faces points outside": lambda t: t["faces"].fill_(1000),
    "up.0.index is 161 x 3, not 162 x n": lambda t: t.update({"up.0.index": t["up.0.index"][1:].contiguous()}),
    "up.0.value is 162 x 1, not 162 x 3": lambda t: t.update({"up.0.value": torch.ones(162, 1)}),
    "spiral.0 is 162, not 162 x n": lambda t: t.update({"spiral.0": torch.zeros(162, dtype=torch.int32)}),
    "spiral.1 is of type torch.float32": lambda t: t.update({"spiral.1": t["spiral.1"].float()}),
    "template is a number, not n x 3": lambda t: t.update({"template": torch.tensor(1.0)}),
    "template is 162 x 5, not n x 3": lambda t: t.update({"template": torch.zeros(162, 5)}),
    "faces is 320 x 7, not n x 3": lambda t: t.update({"faces": torch.zeros(320, 7, dtype=torch.int32)}),
    "up.1.value holds values that are no finite": lambda t: t["up.1.value"].fill_(float("nan")),
    "template holds values that are no finite": lambda t: t["template"].fill_(float("inf")),
}


@pytest.mark.parametrize("message", DAMAGES)
def test_damaged_file_is_one_error(tmp_path: Path, message: str) -> None:
    path = tmp_path / "mesh.safetensors"
    hierarchy().save(path)
    tensors = load_file(path)
    DAMAGES[message](tensors)
    save_file(tensors, path, metadata={"format": FORMAT})
    with pytest.raises(WeightsError, match=r"mesh\.safetensors is no mesh hierarchy for this model: .+") as error:
        load_hierarchy(path, MESH)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("metadata", [None, {"format": "fantasyid-mesh-2"}])
def test_file_of_another_format(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "mesh.safetensors"
    hierarchy().save(path)
    save_file(load_file(path), path, metadata=metadata)
    with pytest.raises(WeightsError, match="its format is not fantasyid-mesh-1"):
        load_hierarchy(path, MESH)


def test_check_names_both_sizes() -> None:
    message = r"levels \(162, 42, 12\) and spirals of \[7\]; this network takes \(162, 42, 11\)"
    with pytest.raises(ValueError, match=message):
        hierarchy().check(MeshConfig(levels=(162, 42, 11), spiral_length=7))


def test_coarse_vertices_must_be_picked() -> None:
    made = hierarchy()
    mixed = SampleTable(made.down[0].index, made.down[0].value * 0.5)
    with pytest.raises(ValueError, match="not picked by index"):
        _ = MeshHierarchy(made.spirals, (mixed, made.down[1]), made.up, made.faces, made.template).coarse_index
