"""The head by subdivision: a closed mesh of known sizes at every level, and tables between them."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.icosphere import HEAD_RADII, icosahedron, icosphere_hierarchy, subdivide
from fantasyid_engine.models.mesh import MeshHierarchy

LARGE = MeshConfig(levels=(642, 162, 42), spiral_length=9)
SMALL = MeshConfig(levels=(162, 42, 12), spiral_length=7)
SIZES = (12, 42, 162, 642)
Mesh = tuple[NDArray[np.float64], NDArray[np.int64]]


@pytest.fixture(scope="module")
def meshes() -> dict[int, Mesh]:
    """Unit spheres by their number of vertices."""
    points, faces = icosahedron()
    made = {len(points): (points, faces)}
    for _ in SIZES[1:]:
        points, faces, _ = subdivide(points, faces)
        made[len(points)] = (points, faces)
    assert tuple(made) == SIZES
    return made


@pytest.fixture(scope="module", params=[LARGE, SMALL], ids=["642-162-42", "162-42-12"])
def config(request: pytest.FixtureRequest) -> MeshConfig:
    return request.param


@pytest.fixture(scope="module")
def hierarchy(config: MeshConfig) -> MeshHierarchy:
    return icosphere_hierarchy(config)


def edges_of(faces: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The directed edges of all triangles."""
    return [(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)]


@pytest.mark.parametrize("size", SIZES)
def test_closed_manifold_of_a_spheres_kind(meshes: dict[int, Mesh], size: int) -> None:
    """Each edge once in either direction, so in exactly two triangles that agree; V - E + F = 2."""
    points, faces = meshes[size]
    directed = edges_of(faces)
    assert len(set(directed)) == len(directed)
    assert {(b, a) for a, b in directed} == set(directed)
    assert len(points) - len(directed) // 2 + len(faces) == 2
    assert set(faces.flatten().tolist()) == set(range(size))


@pytest.mark.parametrize("size", SIZES)
def test_covers_the_sphere_once_and_outward(meshes: dict[int, Mesh], size: int) -> None:
    """Signed solid angles: all above 0, and 4 pi together (Van Oosterom and Strackee 1983)."""
    points, faces = meshes[size]
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1, atol=1e-12)
    corners = points[faces]
    dots = [(corners[:, i] * corners[:, j]).sum(1) for i, j in combinations(range(3), 2)]
    angles = 2 * np.arctan2(np.linalg.det(corners), 1 + sum(dots))
    assert angles.min() > 0
    np.testing.assert_allclose(angles.sum(), 4 * np.pi, rtol=1e-12)


def test_sizes_are_those_asked_for(config: MeshConfig, hierarchy: MeshHierarchy) -> None:
    assert hierarchy.levels == config.levels
    assert tuple(len(table.index) for table in hierarchy.up) == config.levels[:2]
    assert {spiral.shape[1] for spiral in hierarchy.spirals} == {config.spiral_length}
    hierarchy.check(config)


def test_faces_and_template_are_of_the_finest(hierarchy: MeshHierarchy, meshes: dict[int, Mesh]) -> None:
    points, faces = meshes[hierarchy.levels[0]]
    assert np.array_equal(hierarchy.faces.numpy(), faces)
    assert hierarchy.template.dtype == torch.float32
    np.testing.assert_allclose(hierarchy.template.numpy(), points * HEAD_RADII, atol=1e-7)


def test_template_is_a_head_in_metres(hierarchy: MeshHierarchy) -> None:
    """Higher than deep, deeper than wide, some 23 cm high, around the origin, with its volume on the inside."""
    low, high = hierarchy.template.amin(0), hierarchy.template.amax(0)
    torch.testing.assert_close(-low, high)
    width, height, depth = (high - low).tolist()
    assert 0.13 < width < depth < height < 0.25
    corners = hierarchy.template[hierarchy.faces.long()].double()
    volume = torch.linalg.det(corners).sum().item() / 6
    assert 0.8 < volume / (4 / 3 * np.pi * np.prod(HEAD_RADII)) < 1


def test_coarse_vertices_are_the_first_of_the_finer(hierarchy: MeshHierarchy, meshes: dict[int, Mesh]) -> None:
    for table, size in zip(hierarchy.down, hierarchy.levels[1:], strict=True):
        assert torch.equal(table.index[:, 0], torch.arange(size, dtype=torch.int32))
        assert bool((table.value == 1).all())
    assert torch.equal(hierarchy.coarse_index, torch.arange(hierarchy.levels[-1], dtype=torch.int32))
    for fine, coarse in zip(hierarchy.levels[:-1], hierarchy.levels[1:], strict=True):
        assert np.array_equal(meshes[fine][0][:coarse], meshes[coarse][0])


def test_up_puts_a_new_vertex_between_its_two_ends(hierarchy: MeshHierarchy, meshes: dict[int, Mesh]) -> None:
    """Old vertices stay; a new one is the mean of the ends of the edge it split, which each edge is once."""
    for table, fine, coarse in zip(hierarchy.up, hierarchy.levels[:-1], hierarchy.levels[1:], strict=True):
        points, faces = meshes[coarse]
        index, value = table.index.numpy(), table.value.double().numpy()
        np.testing.assert_array_equal(value.sum(1), 1)
        raised = (points[index] * value[..., None]).sum(1)
        np.testing.assert_array_equal(raised[:coarse], points)
        raised /= np.linalg.norm(raised, axis=1, keepdims=True)
        np.testing.assert_allclose(raised, meshes[fine][0], atol=1e-12)
        split = {tuple(sorted(ends)) for ends in index[coarse:].tolist()}
        assert split == {tuple(sorted(edge)) for edge in edges_of(faces)} and len(split) == fine - coarse


def test_spirals_begin_with_the_vertex_and_its_ring(hierarchy: MeshHierarchy, meshes: dict[int, Mesh]) -> None:
    for spiral, size in zip(hierarchy.spirals, hierarchy.levels[:-1], strict=True):
        neighbours: dict[int, set[int]] = {vertex: set() for vertex in range(size)}
        for a, b in edges_of(meshes[size][1]):
            neighbours[a].add(b)
        assert sorted(map(len, neighbours.values())) == [5] * 12 + [6] * (size - 12)
        for vertex, row in enumerate(spiral.tolist()):
            assert row[0] == vertex
            assert set(row[1 : 1 + len(neighbours[vertex])]) == neighbours[vertex]
            assert len(set(row)) == len(row)


def test_saves_and_loads(hierarchy: MeshHierarchy, config: MeshConfig, tmp_path: Path) -> None:
    hierarchy.save(tmp_path / "mesh.safetensors")
    loaded = MeshHierarchy.load(tmp_path / "mesh.safetensors")
    loaded.check(config)
    assert torch.equal(loaded.faces, hierarchy.faces) and torch.equal(loaded.template, hierarchy.template)
    for one, other in zip(loaded.spirals, hierarchy.spirals, strict=True):
        assert torch.equal(one, other)
    for one, other in zip(loaded.down + loaded.up, hierarchy.down + hierarchy.up, strict=True):
        assert torch.equal(one.index, other.index) and torch.equal(one.value, other.value)


@pytest.mark.parametrize(
    "levels",
    [(642, 162, 43), (642, 42, 12), (640, 160, 40), (5023, 1256, 314), (42, 12, 3), (3, 2, 1)],
    ids=str,
)
def test_sizes_that_subdivision_does_not_give(levels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="are no subdivisions of an icosahedron") as error:
        icosphere_hierarchy(MeshConfig(levels=levels))
    assert str(levels) in str(error.value)
