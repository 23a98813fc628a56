from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from fantasyid_engine.face.vertices import MAX_BYTES, decode_vertices, read_vertices, vertices_bytes
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.weights.mesh_pickle import hierarchy_of
from fantasyid_engine.weights.unpickle import load_arrays
from tests.face.pictures import assert_refused, little_memory
from tests.face.plys import ply
from tests.goldens import require_reference
from tests.small import hierarchy

NAME = "face.ply"
FORMATS = ["ascii", "binary_little_endian", "binary_big_endian"]


@cache
def mesh() -> MeshHierarchy:
    """A sphere of 162 vertices, of the size of a head."""
    small = hierarchy()
    return MeshHierarchy(small.spirals, small.down, small.up, small.faces, small.template.float() * 0.12)


@cache
def newton() -> tuple[Path, MeshHierarchy]:
    faces = require_reference() / "faces"
    path = faces / "transform.pkl"
    return faces / "newton.ply", hierarchy_of(load_arrays(path), path)


def head() -> np.ndarray:
    """The template as another face might be: stretched, turned, moved, with small noise."""
    points = mesh().template.double().numpy()
    c, s = np.cos(0.4), np.sin(0.4)
    turned = points * (0.9, 1.15, 1.05) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return turned + np.random.default_rng(0).normal(0, 0.002, points.shape) + (0.01, 0.02, -0.03)


def refused(code: str, data: bytes, *says: str) -> None:
    assert_refused(code, NAME, lambda: decode_vertices(data, NAME, mesh()), *says)


@pytest.mark.parametrize("faces", [False, True], ids=["cloud", "mesh"])
@pytest.mark.parametrize("number", ["float", "double"])
@pytest.mark.parametrize("format", FORMATS)
def test_vertices_are_what_was_written(format: str, number: str, faces: bool) -> None:
    points = head()
    data = ply(points, mesh().faces.tolist() if faces else None, format=format, number=number, after=["uchar"] * 3)
    vertices = decode_vertices(data, NAME, mesh())
    assert vertices.dtype == torch.float32 and vertices.shape == (162, 3) and vertices.is_contiguous()
    assert (vertices.numpy() == points.astype(np.float32)).all()


def test_source_kinds_agree(tmp_path: Path) -> None:
    data = ply(head())
    path = tmp_path / "cloud.bin"
    path.write_bytes(data)
    assert vertices_bytes(path) == vertices_bytes(str(path)) == vertices_bytes(data) == data
    read = [read_vertices(source, mesh()) for source in (path, str(path), data)]
    assert all(torch.equal(vertices, decode_vertices(data, NAME, mesh())) for vertices in read)


def test_triangles_in_another_order_with_other_first_corners() -> None:
    faces = np.roll(mesh().faces.numpy()[::-1], 1, axis=1)
    assert len(decode_vertices(ply(head(), faces), NAME, mesh())) == 162


def moved(index: int, to: tuple[float, float, float]) -> np.ndarray:
    points = head()
    points[index] = to
    return points


SHUFFLE = np.random.default_rng(1).permutation(162)


def some_shuffled(share: float) -> np.ndarray:
    points, random = head(), np.random.default_rng(2)
    chosen = random.choice(162, int(share * 162), replace=False)
    points[chosen] = points[np.roll(chosen, 1)]
    return points


@pytest.mark.parametrize(
    ("points", "says"),
    [
        pytest.param(head()[:161], "161 vertices, but this model takes 162", id="one-less"),
        pytest.param(np.concatenate([head(), head()[:1]]), "163 vertices", id="one-more"),
        pytest.param(np.concatenate([head(), head()]), "324 vertices", id="twice"),
        pytest.param(head()[:0], "0 vertices", id="none"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_count(points: np.ndarray, says: str, format: str) -> None:
    refused("vertices_count", ply(points, format=format), says)


def test_giant_count_allocates_nothing() -> None:
    data = ply(head()).replace(b"vertex 162", b"vertex 500000")
    with little_memory(64):
        refused("vertices_count", data, "500000 vertices")


@pytest.mark.parametrize(
    ("points", "says"),
    [
        pytest.param(moved(0, (np.nan, 0, 0)), "1 vertices are no finite numbers, the first is number 0", id="nan"),
        pytest.param(moved(161, (0, 0, np.inf)), "number 161", id="inf"),
        pytest.param(moved(7, (0, -np.inf, 0)), "number 7", id="minus-inf"),
        pytest.param(head() * np.nan, "162 vertices", id="all-nan"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_not_finite(points: np.ndarray, says: str, format: str) -> None:
    refused("vertices_not_finite", ply(points, format=format, number="float"), says)


@pytest.mark.parametrize("format", FORMATS)
def test_beyond_float32(format: str) -> None:
    refused("vertices_not_finite", ply(moved(3, (1e300, 0, 0)), format=format), "number 3")


@pytest.mark.parametrize(
    ("points", "says"),
    [
        pytest.param(head() * 1000, "looks like millimetres: divide by 1000", id="millimetres"),
        pytest.param(head() * 100, "looks like centimetres: divide by 100", id="centimetres"),
        pytest.param(head() * 39.37, "looks like inches: divide by 39.37", id="inches"),
        pytest.param(head() * 5, "scale it to metres", id="five-times"),
        pytest.param(head() / 5, "scale it to metres", id="a-fifth"),
        pytest.param(head() / 1000, "nearly one place", id="kilometres"),
        pytest.param(head() * 0, "0 metres across", id="all-zero"),
        pytest.param(head() * 0 + 0.3, "nearly one place", id="all-equal"),
        pytest.param(moved(5, (7, 0, 0)), "vertices that are far off", id="one-far-off"),
        pytest.param(head() * 1e30, "scale it", id="astronomic"),
    ],
)
def test_extent(points: np.ndarray, says: str) -> None:
    refused("vertices_extent", ply(points), says, "metres across, where a head has 0.4")


@pytest.mark.parametrize(
    "points",
    [
        pytest.param(head()[SHUFFLE], id="shuffled"),
        pytest.param(some_shuffled(0.6), id="partly-shuffled"),
        pytest.param(head()[np.lexsort(head().T)], id="sorted-by-height"),
        pytest.param(np.random.default_rng(0).uniform(-0.1, 0.1, (162, 3)), id="random"),
    ],
)
@pytest.mark.parametrize("faces", [False, True], ids=["cloud", "mesh"])
def test_order_of_vertices(points: np.ndarray, faces: bool) -> None:
    data = ply(points, mesh().faces.tolist() if faces else None)
    refused("vertices_topology", data, "in its order of vertices the mesh's edges are", "times as long")


def other_faces(change: Callable[[np.ndarray], object]) -> list[list[int]]:
    faces = mesh().faces.numpy().copy()
    changed = change(faces)
    return (faces if changed is None else np.asarray(changed)).tolist()


def one_corner(faces: np.ndarray) -> None:
    faces[9, 1] = next(v for v in range(162) if v not in faces[9])


def doubled(faces: np.ndarray) -> None:
    faces[4] = faces[5]


@pytest.mark.parametrize(
    ("faces", "says"),
    [
        pytest.param(other_faces(one_corner), "triangles are not those", id="one-corner"),
        pytest.param(other_faces(doubled), "triangles are not those", id="one-twice"),
        pytest.param(other_faces(lambda f: f[:, ::-1]), "320 differ", id="turned-inside-out"),
        pytest.param(other_faces(lambda f: SHUFFLE[f]), "triangles are not those", id="other-order"),
        pytest.param(other_faces(lambda f: f + 1), "triangles are not those", id="counted-from-1"),
        pytest.param(other_faces(lambda f: f[:-1]), "319 triangles, this model's mesh 320", id="one-less"),
        pytest.param(other_faces(lambda f: np.concatenate([f, f[:1]])), "321 triangles", id="one-more"),
        pytest.param(other_faces(lambda f: f * 0 - 5), "triangles are not those", id="negative"),
    ],
)
@pytest.mark.parametrize("format", FORMATS)
def test_triangles(faces: list[list[int]], says: str, format: str) -> None:
    refused("vertices_topology", ply(head(), faces, format=format), says, "in the order of the face model")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "it is empty", id="empty"),
        pytest.param(b"\x93NUMPY", "first line is not 'ply'", id="other-format"),
        pytest.param(ply(head())[:-1], "should follow its header", id="cut"),
        pytest.param(ply(head()) + b"\0", "should follow its header", id="longer"),
        pytest.param(ply(head(), format="ascii").rsplit(b" ", 2)[0], "should follow its header", id="ascii-cut"),
        pytest.param(ply(head(), comments=["hello\x1b[31m world"]), "hello\\x1b[31m world", id="escape-sequence"),
    ],
)
def test_unreadable(data: bytes, says: str) -> None:
    refused("vertices_unreadable", data, says, "write it again, or whole")


@pytest.mark.parametrize("kind", ["path", "bytes"])
def test_above_the_limit(tmp_path: Path, kind: str) -> None:
    if kind == "bytes":
        refused("vertices_unreadable", bytes(MAX_BYTES + 1), "64 MiB")
        return
    path = tmp_path / "face.ply"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert_refused("vertices_unreadable", str(path), lambda: read_vertices(path, mesh()), "64 MiB")


@pytest.mark.parametrize("name", ["absent.ply", ""], ids=["absent", "folder"])
def test_missing(tmp_path: Path, name: str) -> None:
    path = f"{tmp_path}/{name}"
    assert_refused("vertices_missing_file", str(tmp_path), lambda: read_vertices(path, mesh()), "of a vertex file")


def test_name_cannot_forge_a_line() -> None:
    assert_refused("vertices_unreadable", "a\\nERROR", lambda: decode_vertices(b"", "a\nERROR", mesh()))


@pytest.mark.reference_data
def test_newton_is_read_as_trimesh_reads_it() -> None:
    path, flame = newton()
    expected = np.asarray(trimesh.load(path, process=False).vertices)
    assert (read_vertices(path, flame).numpy() == expected.astype(np.float32)).all()
    assert (
        decode_vertices(ply(expected, flame.faces.tolist()), NAME, flame).numpy() == expected.astype(np.float32)
    ).all()


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("code", "change"),
    [
        pytest.param("vertices_topology", lambda p: np.random.default_rng(0).permutation(p), id="shuffled"),
        pytest.param("vertices_topology", lambda p: np.roll(p, 1, axis=0), id="shifted-by-one"),
        pytest.param("vertices_topology", lambda p: p[::-1], id="reversed"),
        pytest.param("vertices_topology", lambda p: p[np.lexsort(p.T)], id="sorted"),
        pytest.param("vertices_extent", lambda p: p * 1000, id="millimetres"),
        pytest.param("vertices_extent", lambda p: p * 0 + 0.1, id="all-equal"),
        pytest.param(
            "vertices_not_finite", lambda p: np.where(np.arange(15069).reshape(p.shape) == 9, np.nan, p), id="nan"
        ),
        pytest.param("vertices_count", lambda p: p[:5022], id="5022"),
        pytest.param("vertices_count", lambda p: np.resize(p, (6000, 3)), id="6000"),
    ],
)
def test_newton_changed(code: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path, flame = newton()
    points = np.asarray(trimesh.load(path, process=False).vertices)
    assert_refused(code, NAME, lambda: decode_vertices(ply(change(points)), NAME, flame))


@pytest.mark.reference_data
def test_a_tenth_of_newton_shuffled() -> None:
    path, flame = newton()
    points = np.array(trimesh.load(path, process=False).vertices)
    chosen = np.random.default_rng(0).choice(5023, 502, replace=False)
    points[chosen] = points[np.roll(chosen, 1)]
    assert_refused("vertices_topology", NAME, lambda: decode_vertices(ply(points), NAME, flame), "times as long")
