"""A head of 642 vertices by subdivision: a mesh hierarchy that needs no decimation.

An icosahedron's triangles are split in four, again and again (12, 42, 162, 642, ... vertices). New vertices come after
the old ones, so a coarser level is the first vertices of the finer one, and going up puts a new vertex between the two
it was made from. The template is an ellipsoid of a head's size: x to the right, y up, z towards the viewer, in metres.
"""

from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable
from fantasyid_engine.models.spirals import build_spirals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HEAD_RADII = (0.078, 0.115, 0.098)
"""Half width, height and depth of a head, in metres."""


def icosahedron() -> tuple[Floats, Ints]:
    """Unit vertices [12, 3] and outward triangles [20, 3]."""
    golden = (1 + 5**0.5) / 2
    pairs = [(a, golden * b) for a in (-1, 1) for b in (-1, 1)]
    points = np.array([p for a, b in pairs for p in ((0, a, b), (a, b, 0), (b, 0, a))], dtype=np.float64)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    near = np.linalg.norm(points[:, None] - points[None], axis=2) < 1.1
    faces = []
    for i, j, k in combinations(range(12), 3):
        if near[i, j] and near[j, k] and near[i, k]:
            outward = np.linalg.det(points[[i, j, k]]) > 0
            faces.append((i, j, k) if outward else (i, k, j))
    return points, np.array(faces, dtype=np.int64)


def subdivide(points: Floats, faces: Ints) -> tuple[Floats, Ints, Ints]:
    """Splits each triangle in four -> unit vertices, triangles, and the two ends [new, 2] of each new vertex's edge."""
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    ends, place = np.unique(edges, axis=0, return_inverse=True)
    middles = points[ends].sum(1)
    middles /= np.linalg.norm(middles, axis=1, keepdims=True)
    (a, b, c), (ab, bc, ca) = faces.T, (place.reshape(-1, 3) + len(points)).T
    split = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return np.concatenate([points, middles]), np.concatenate([np.stack(f, axis=1) for f in split]), ends


def icosphere_hierarchy(config: MeshConfig) -> MeshHierarchy:
    """The hierarchy whose level sizes are `config.levels`.

    Raises:
        ValueError: sizes that subdivision does not give.
    """
    points, faces = icosahedron()
    meshes, ends_of = [(points, faces)], []
    while len(points) < config.levels[0]:
        points, faces, ends = subdivide(points, faces)
        meshes.append((points, faces))
        ends_of.append(ends)
    meshes, ends_of = meshes[::-1][: len(config.levels)], ends_of[::-1]
    if tuple(len(points) for points, _ in meshes) != config.levels:
        raise ValueError(f"levels {config.levels} are no subdivisions of an icosahedron, as (642, 162, 42) are")

    spirals, down, up = [], [], []
    for (points, faces), (coarse, _), ends in zip(meshes[:-1], meshes[1:], ends_of, strict=False):
        spirals.append(torch.from_numpy(build_spirals(points, faces, config.spiral_length)).int())
        kept = np.arange(len(coarse))[:, None]
        down.append(SampleTable(torch.from_numpy(kept).int(), torch.ones(len(coarse), 1)))
        index = np.concatenate([kept.repeat(2, axis=1), ends])
        up.append(SampleTable(torch.from_numpy(index).int(), torch.full(index.shape, 0.5)))
    points, faces = meshes[0]
    template = torch.from_numpy(points * HEAD_RADII).float()
    return MeshHierarchy(tuple(spirals), tuple(down), tuple(up), torch.from_numpy(faces).int(), template)
