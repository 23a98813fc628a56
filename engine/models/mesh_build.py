"""Making a mesh hierarchy from any triangle mesh (needs the extra `mesh`).

Quadric decimation (fast-simplification) says which edges collapse. Each coarse vertex is the vertex of its collapsed
cluster that lies nearest to where decimation put it: a true vertex, picked by index, so that identity in millimetres
survives pooling. Up-sampling is barycentric: each fine vertex is written in the corners of the nearest coarse triangle.
"""

import fast_simplification
import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable
from fantasyid_engine.models.spirals import build_spirals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def build_hierarchy(vertices: Tensor, faces: Tensor, config: MeshConfig) -> MeshHierarchy:
    """Decimates a mesh to the levels of `config` and tabulates spirals and resampling.

    Args:
        vertices: template [V, 3] float; V must be `config.levels[0]`.
        faces: triangles [F, 3], counter-clockwise seen from outside.
        config: vertices a level and spiral length.

    Raises:
        ValueError: another vertex count, faces that point outside, a vertex that is in no face, or a mesh that cannot
            be decimated that far.
    """
    points, triangles = vertices.double().numpy(), faces.long().numpy()
    if len(points) != config.levels[0]:
        raise ValueError(f"a mesh of {len(points)} vertices; the finest level has {config.levels[0]}")
    if triangles.min() < 0 or triangles.max() >= len(points):
        raise ValueError(f"faces that point outside the {len(points)} vertices")
    unused = len(points) - len(np.unique(triangles))
    if unused:
        raise ValueError(f"{unused} vertices of the mesh are in no face; remove them first")

    spirals, down, up = [], [], []
    for count in config.levels[1:]:
        spirals.append(torch.from_numpy(build_spirals(points, triangles, config.spiral_length)).int())
        picked, coarse_triangles = decimate(points, triangles, count)
        coarse_points = points[picked]
        down.append(SampleTable(torch.from_numpy(picked[:, None]).int(), torch.ones(count, 1)))
        up.append(barycentric(points, coarse_points, coarse_triangles))
        points, triangles = coarse_points, coarse_triangles
    return MeshHierarchy(tuple(spirals), tuple(down), tuple(up), faces.int(), vertices.float())


def decimate(points: Floats, triangles: Ints, count: int) -> tuple[Ints, Ints]:
    """-> indices [count] of the vertices that stay, and the triangles [F', 3] over them.

    Raises:
        ValueError: decimation stops before `count` vertices, or (where parts of a few triangles vanish whole) skips it.
    """
    unit_points = (points - points.mean(0)) / np.ptp(points)
    fewest_faces = max(4, int(len(triangles) * count / len(points) / 2))
    collapses = fast_simplification.simplify(
        unit_points, triangles.astype(np.int32), target_count=fewest_faces, agg=7, return_collapses=True
    )[-1]
    # A collapse takes one vertex, now and then (where a part vanishes) more: replay until the count fits.
    for last in range(len(points) - count, 0, -1):
        placed, coarse, cluster = fast_simplification.replay_simplification(unit_points, triangles, collapses[:last])
        if len(placed) >= count:
            break
    else:
        raise ValueError(f"a mesh of {len(points)} vertices has no level of {count}")
    if len(placed) > count:
        raise ValueError(f"the mesh cannot be decimated to {count} vertices; {len(placed)} is the nearest it comes")

    distance = ((unit_points - placed[cluster]) ** 2).sum(1)
    by_cluster_then_distance = np.lexsort((distance, cluster))
    _, first = np.unique(cluster[by_cluster_then_distance], return_index=True)
    return by_cluster_then_distance[first], np.asarray(coarse, dtype=np.int64)


def barycentric(points: Floats, coarse_points: Floats, coarse_triangles: Ints) -> SampleTable:
    """Writes each point [V, 3] in the three corners of the nearest coarse triangle; weights lie in [0, 1], sum 1.

    Triangles without area are passed over: picked vertices can lie on one line.
    """
    areas = trimesh.triangles.area(coarse_points[coarse_triangles])
    solid = coarse_triangles[areas > 1e-9 * areas.max()]
    mesh = trimesh.Trimesh(coarse_points, solid, process=False)
    nearest, _, triangle = trimesh.proximity.closest_point(mesh, points)
    corners = solid[triangle]
    weights = trimesh.triangles.points_to_barycentric(coarse_points[corners], nearest)
    weights = np.clip(weights, 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    return SampleTable(torch.from_numpy(corners).int(), torch.from_numpy(weights).float())
