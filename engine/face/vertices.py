"""Vertices of a face, from a PLY file, checked against the mesh that the network knows.

    as many as the mesh has -> finite -> in metres -> in the mesh's order

A cloud does not tell its order, but a wrong one shows: the mesh's edges then run across the whole head. Their mean
length, relative to the head, is 0.92 of the template's in a sample of DECA, 19 times it when the sample is shuffled,
7 when it is shifted by one, 4 when a tenth is shuffled.

V vertices, F triangles.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face.ply import read_header, read_rows
from fantasyid_engine.face.source import Source, check_length, name_of, read_source
from fantasyid_engine.models.mesh import MeshHierarchy

MAX_BYTES = 64 << 20
EXTENTS = (0.5, 2.0)
"""Diagonal of the bounding box, relative to the template's."""
EDGES = (0.5, 2.0)
"""Mean edge over diagonal, relative to the template's."""
UNITS = {"millimetres": 1000.0, "centimetres": 100.0, "inches": 39.37}


def read_vertices(source: Source, hierarchy: MeshHierarchy) -> Tensor:
    """Vertices -> [V, 3] float32: `vertices_bytes`, then `decode_vertices`; raises what they raise."""
    return decode_vertices(vertices_bytes(source), name_of(source, "vertex"), hierarchy)


def vertices_bytes(source: Source) -> bytes:
    """The file as it is, so that what is hashed is what is decoded.

    Raises:
        InputError: `vertices_missing_file` when no such file can be read, `vertices_unreadable` above 64 MiB.
    """
    return read_source(source, "vertex", MAX_BYTES, "vertices_missing_file", "vertices_unreadable")


def decode_vertices(data: bytes, name: str, hierarchy: MeshHierarchy) -> Tensor:
    """Vertices of a PLY file -> [V, 3] float32, metres, in the file's order.

    Args:
        data: a whole file: x, y, z as float or double, with or without more properties and triangles.
        name: what messages call it.
        hierarchy: the mesh whose vertices they are.

    Raises:
        InputError: `vertices_unreadable` (no PLY, truncated, above 64 MiB), `vertices_count`, `vertices_not_finite`,
            `vertices_extent` (another unit, degenerate), `vertices_topology` (other triangles, another order).
    """
    name = one_line(name)
    check_length(data, name, "vertex", MAX_BYTES, "vertices_unreadable")
    try:
        header = read_header(data)
        _check_counts(header.count("vertex"), header.count("face"), hierarchy, name)
        values_V3, triangles_F3 = read_rows(data, header)
    except ValueError as error:
        message = f"{name} cannot be read as a PLY file of vertices: {one_line(str(error))}; write it again, or whole"
        raise InputError("vertices_unreadable", message) from None
    with np.errstate(over="ignore"):  # what is too large for float32 becomes infinite
        vertices_V3 = values_V3.astype(np.float32)
    template_V3 = hierarchy.template.cpu().numpy()
    faces_F3 = hierarchy.faces.cpu().numpy()
    _check_finite(vertices_V3, name)
    _check_extent(vertices_V3, template_V3, name)
    if triangles_F3 is not None:
        _check_triangles(triangles_F3, faces_F3, name)
    _check_order(vertices_V3, template_V3, faces_F3, name)
    return torch.from_numpy(vertices_V3)


def _check_counts(vertices: int, faces: int, hierarchy: MeshHierarchy, name: str) -> None:
    if vertices != hierarchy.levels[0]:
        raise InputError(
            "vertices_count",
            f"{name}: {vertices} vertices, but this model takes {hierarchy.levels[0]}; "
            "give those of the face model that it was trained with",
        )
    if faces not in (0, len(hierarchy.faces)):
        raise _wrong_mesh(name, f"it has {faces} triangles, this model's mesh {len(hierarchy.faces)}")


def _check_finite(vertices_V3: NDArray[np.float32], name: str) -> None:
    bad = np.flatnonzero(~np.isfinite(vertices_V3).all(axis=1))
    if len(bad):
        raise InputError(
            "vertices_not_finite",
            f"{name}: {len(bad)} vertices are no finite numbers, the first is number {bad[0]} (counted from 0); "
            "write the file again",
        )


def _check_extent(vertices_V3: NDArray[np.float32], template_V3: NDArray[np.float32], name: str) -> None:
    extent, usual = _diagonal(vertices_V3), _diagonal(template_V3)
    if EXTENTS[0] <= extent / usual <= EXTENTS[1]:
        return
    units = [unit for unit, n in UNITS.items() if EXTENTS[0] <= extent / usual / n <= EXTENTS[1]]
    if units:
        hint = f"it looks like {units[0]}: divide by {UNITS[units[0]]:g}"
    elif extent < 0.01 * usual:
        hint = "all vertices are in nearly one place"
    else:
        hint = "scale it to metres, or remove vertices that are far off"
    raise InputError("vertices_extent", f"{name}: {extent:.3g} metres across, where a head has {usual:.2g}; {hint}")


def _check_triangles(triangles_F3: NDArray, faces_F3: NDArray, name: str) -> None:
    other = int((_sorted(triangles_F3) != _sorted(faces_F3)).any(axis=1).sum())
    if other:
        raise _wrong_mesh(name, f"its triangles are not those of this model's mesh ({other} differ)")


def _sorted(faces_F3: NDArray) -> NDArray[np.float64]:
    """The same triangles with the smallest corner first, then in order; winding is kept."""
    first = faces_F3.argmin(axis=1)[:, None]
    turned = np.take_along_axis(faces_F3, (first + np.arange(3)) % 3, axis=1).astype(np.float64)
    return turned[np.lexsort(turned.T[::-1])]


def _check_order(vertices_V3: NDArray, template_V3: NDArray, faces_F3: NDArray, name: str) -> None:
    ratio = _mean_edge(vertices_V3, faces_F3) / _mean_edge(template_V3, faces_F3)
    if not EDGES[0] <= ratio <= EDGES[1]:
        raise _wrong_mesh(
            name, f"in its order of vertices the mesh's edges are {ratio:.2g} times as long as they should be"
        )


def _wrong_mesh(name: str, what: str) -> InputError:
    advice = "give the vertices in the order of the face model, as it wrote them"
    return InputError("vertices_topology", f"{name}: {what}; {advice}")


def _mean_edge(vertices_V3: NDArray, faces_F3: NDArray) -> float:
    """Mean length of the edges of all triangles, as a share of the diagonal."""
    corners = vertices_V3.astype(np.float64)[faces_F3]
    edges = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1)
    return float(edges.mean()) / _diagonal(vertices_V3)


def _diagonal(vertices_V3: NDArray) -> float:
    return float(np.linalg.norm(np.ptp(vertices_V3.astype(np.float64), axis=0)))
