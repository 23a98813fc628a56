"""Spirals of a triangle mesh: a fixed order of the vertices around each vertex.

A spiral is the vertex, its ring, the next ring, and so on, cut at S. Rings run clockwise as seen from outside. A closed
ring starts at the vertex that follows the centre in the last face of the list that holds the centre; an open ring (on a
border) starts at the border. The next ring is made of the rings of the last ring's vertices in turn, each taken from
behind the last ring onwards. Where a component has fewer than S vertices, the nearest other vertices fill the rest.

This order decides what the weights mean: it is that of the release (half-edge meshes of OpenMesh, SpiralNet++).
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def manifold_faces(faces: Iterable[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Drops degenerate faces and those that use a directed edge a second time (a half-edge mesh cannot hold them)."""
    used: set[tuple[int, int]] = set()
    kept = []
    for a, b, c in faces:
        edges = {(a, b), (b, c), (c, a)}
        if len({a, b, c}) == 3 and not edges & used:
            used |= edges
            kept.append((a, b, c))
    return kept


def rings(num_vertices: int, faces: Iterable[tuple[int, int, int]]) -> list[list[int]]:
    """The neighbours of each vertex in clockwise order; of a vertex with several fans, fan after fan."""
    clockwise: list[dict[int, int]] = [{} for _ in range(num_vertices)]
    for face in manifold_faces(faces):
        for i in range(3):
            centre, after, before = face[i], face[(i + 1) % 3], face[(i + 2) % 3]
            clockwise[centre][before] = after
    return [_ring(steps) for steps in clockwise]


def _ring(clockwise: dict[int, int]) -> list[int]:
    """Neighbours in order, from the map of each neighbour to the clockwise next one."""
    if not clockwise:
        return []
    ends = set(clockwise.values())
    starts = [spoke for spoke in clockwise if spoke not in ends] or [clockwise[next(reversed(clockwise))]]
    ring: list[int] = []
    for start in [*starts, *clockwise]:
        spoke: int | None = start
        while spoke is not None and spoke not in ring:
            ring.append(spoke)
            spoke = clockwise.get(spoke)
    return ring


def _next_ring(around: list[list[int]], last: list[int], inside: list[int]) -> list[int]:
    known, last_set = {*inside, *last}, set(last)
    found: list[int] = []
    for vertex in last:
        ring = around[vertex]
        # From behind the first vertex of the last ring to the end, then from the start up to it.
        first = next((i for i, other in enumerate(ring) if other in last_set), len(ring))
        for other in [*ring[first + 1 :], *ring[:first]]:
            if other not in known:
                known.add(other)
                found.append(other)
    return found


def build_spirals(vertices: NDArray[np.floating], faces: Ints, length: int) -> Ints:
    """Spirals of all vertices.

    Args:
        vertices: positions [V, 3], used only where a component has fewer than `length` vertices.
        faces: triangles [F, 3], counter-clockwise seen from outside.
        length: S, at most V.

    Returns:
        [V, S] int64; column 0 is the vertex itself.

    Raises:
        ValueError: fewer than `length` vertices.
    """
    if len(vertices) < length:
        raise ValueError(f"a mesh of {len(vertices)} vertices has no spirals of {length}")
    around = rings(len(vertices), [(int(a), int(b), int(c)) for a, b, c in faces])
    spirals = np.empty((len(vertices), length), dtype=np.int64)
    for centre in range(len(vertices)):
        spiral, last = [centre], around[centre]
        while last and len(spiral) < length:
            inside, spiral = spiral, [*spiral, *last]
            last = _next_ring(around, last, inside)
        if len(spiral) < length:
            spiral = _fill_with_nearest(spiral, vertices, length)
        spirals[centre] = spiral[:length]
    return spirals


def _fill_with_nearest(spiral: list[int], vertices: NDArray[np.floating], length: int) -> list[int]:
    order = np.argsort(((vertices - vertices[spiral[0]]) ** 2).sum(1), kind="stable")
    inside = set(spiral)
    return [*spiral, *(int(v) for v in order if int(v) not in inside)][:length]
