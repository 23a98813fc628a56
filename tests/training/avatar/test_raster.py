"""The z-buffer against a loop over every pixel and triangle in float64."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.training.avatar.raster import TRIANGLE_BITS, Fragments, rasterise

SIZE = 12
MARGIN = 1e-3
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    points: Tensor
    cut: Tensor
    faces: Tensor
    two_sided: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A picture: triangle [S, S] (-1: none), weights [S, S, 3], sure [S, S] where no tie or edge is near."""

    triangle: NDArray[np.int64]
    weights: Floats
    sure: NDArray[np.bool_]


def scene(seed: int, batch: int = 1, triangles: int = 12) -> Scene:
    """Loose triangles in and around the picture, some cut, with depths of a factor of four."""
    g = torch.Generator().manual_seed(seed)
    vertices = 3 * triangles // 2
    points = torch.rand(batch, 3, vertices, generator=g)
    points[:, :2] = points[:, :2] * (SIZE + 10) - 5
    points[:, 2] = 0.5 + 1.5 * points[:, 2]
    cut = torch.randn(batch, vertices, generator=g) + 0.4
    faces = torch.stack([torch.randperm(vertices, generator=g)[:3] for _ in range(triangles)])
    return Scene(points, cut, faces, torch.rand(triangles, generator=g) < 0.5)


def raster(made: Scene, size: int = SIZE) -> Fragments:
    return rasterise(made.points, made.cut, made.faces, made.two_sided, size)


def picture(fragments: Fragments, frame: int = 0, size: int = SIZE) -> Seen:
    """One frame of what `rasterise` returns, as pictures."""
    here = fragments.frame == frame
    triangle = np.full(size * size, -1)
    weights = np.zeros((size * size, 3))
    at = (fragments.pixel[here] - frame * size * size).numpy()
    triangle[at], weights[at] = fragments.triangle[here].numpy(), fragments.weights.T[here].double().numpy()
    return Seen(triangle.reshape(size, size), weights.reshape(size, size, 3), np.ones((size, size), bool))


def plain(
    points: Floats, cut: Floats, faces: NDArray[np.int64], two_sided: NDArray[np.bool_], size: int = SIZE
) -> Seen:
    """The same, slowly: edge functions at each pixel's centre, the nearest of those inside."""
    seen = Seen(np.full((size, size), -1), np.zeros((size, size, 3)), np.ones((size, size), bool))
    for row in range(size):
        for column in range(size):
            nearest = 0.0
            for number, corners in enumerate(faces):
                (x, y, near), existing = points[:, corners], cut[corners]
                area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
                if abs(area) < 1e-6 or (area > 0 and not two_sided[number]):  # rows go down
                    continue
                dx, dy = x - (column + 0.5), y - (row + 0.5)
                share = np.array([dx[i - 2] * dy[i - 1] - dx[i - 1] * dy[i - 2] for i in range(3)]) / area
                weights = share * near / (share @ near)
                straight = share @ existing  # as if there were no perspective: see the test of cuts
                if share.min() > -MARGIN and min(map(abs, (*share, straight, weights @ existing))) < MARGIN:
                    seen.sure[row, column] = False
                if share.min() > 0 and (straight > 0) != (weights @ existing > 0):
                    seen.sure[row, column] = False
                if share.min() < 0 or weights @ existing <= 0:
                    continue
                if abs(share @ near - nearest) < MARGIN:
                    seen.sure[row, column] = False
                if share @ near > nearest:
                    nearest = share @ near
                    seen.triangle[row, column], seen.weights[row, column] = number, weights
    return seen


def plain_of(made: Scene, frame: int = 0) -> Seen:
    arrays = made.points[frame].double(), made.cut[frame].double(), made.faces, made.two_sided
    return plain(*(array.numpy() for array in arrays))


def quad(near: float = 1.0, cut: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> Scene:
    """A square from (2, 2) to (10, 10) that faces the camera: two triangles."""
    points = torch.tensor([[[2.0, 2, 10, 10], [2, 10, 10, 2], [near] * 4]])
    return Scene(points, torch.tensor([cut]), torch.tensor([[0, 1, 2], [0, 2, 3]]), torch.tensor([False, False]))


@pytest.mark.parametrize("seed", range(24))
def test_matches_a_plain_loop(seed: int) -> None:
    made = scene(seed)
    expected, actual = plain_of(made), picture(raster(made))
    assert expected.sure.mean() > 0.8 and len(np.unique(expected.triangle[expected.sure])) > 2
    np.testing.assert_array_equal(actual.triangle[expected.sure], expected.triangle[expected.sure])
    np.testing.assert_allclose(actual.weights[expected.sure], expected.weights[expected.sure], atol=2e-4)


def test_a_batch_is_its_frames_one_by_one() -> None:
    made = scene(100, batch=5, triangles=40)
    together = raster(made)
    assert torch.equal(together.frame, together.pixel // SIZE**2)
    assert (together.pixel.diff() > 0).all()
    for frame in range(5):
        alone = raster(Scene(made.points[frame : frame + 1], made.cut[frame : frame + 1], made.faces, made.two_sided))
        here = together.frame == frame
        assert here.any()
        assert torch.equal(alone.pixel, together.pixel[here] - frame * SIZE**2)
        assert torch.equal(alone.triangle, together.triangle[here])
        assert torch.equal(alone.weights, together.weights[:, here])


def test_weights_add_up_and_rebuild_what_is_met() -> None:
    """Inverse distances are linear on the screen, distances in space; each gives back the other at the pixel."""
    made = scene(7, triangles=60)
    seen = raster(made)
    torch.testing.assert_close(seen.weights.sum(0), torch.ones(len(seen.pixel)))
    assert seen.weights.min() >= 0 and seen.weights.max() <= 1
    corners = made.points[0][:, made.faces[seen.triangle]].double()  # [3, P, 3]
    distance = (seen.weights.T / corners[2]).sum(1)
    column = (seen.weights.T * corners[0] / corners[2]).sum(1) / distance
    row = (seen.weights.T * corners[1] / corners[2]).sum(1) / distance
    torch.testing.assert_close(column, seen.pixel % SIZE + 0.5, atol=1e-3, rtol=0, check_dtype=False)
    torch.testing.assert_close(row, seen.pixel // SIZE + 0.5, atol=1e-3, rtol=0, check_dtype=False)


@pytest.mark.parametrize("seed", range(5))
def test_order_of_triangles_does_not_matter(seed: int) -> None:
    made = scene(seed, triangles=50)
    order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
    shuffled = raster(Scene(made.points, made.cut, made.faces[order], made.two_sided[order]))
    usual = raster(made)
    assert torch.equal(shuffled.pixel, usual.pixel)
    assert torch.equal(order[shuffled.triangle], usual.triangle)
    torch.testing.assert_close(shuffled.weights, usual.weights, atol=0, rtol=0)


def test_covers_what_it_should_and_nothing_else() -> None:
    covered = picture(raster(quad())).triangle >= 0
    expected = np.zeros((SIZE, SIZE), bool)
    expected[2:10, 2:10] = True
    np.testing.assert_array_equal(covered, expected)


@pytest.mark.parametrize("seed", range(3))
def test_no_gaps_between_neighbours(seed: int) -> None:
    """A net of triangles over the whole picture, its knots anywhere."""
    knots, g = 9, torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(*[torch.arange(knots)] * 2, indexing="ij")
    place = torch.stack([column, row]).float() * 2 - 2 + (torch.rand(2, knots, knots, generator=g) - 0.5)
    points = torch.cat([place, 0.5 + torch.rand(1, knots, knots, generator=g)]).flatten(1)[None]
    a = (row * knots + column)[:-1, :-1].flatten()
    faces = torch.cat([torch.stack([a, a + knots, a + 1], 1), torch.stack([a + 1, a + knots, a + knots + 1], 1)])
    made = Scene(points, torch.ones(1, knots * knots), faces, torch.zeros(len(faces), dtype=torch.bool))
    assert (picture(raster(made)).triangle >= 0).all()


def test_backs_are_seen_only_of_the_two_sided() -> None:
    made = quad()
    back = made.faces.flip(1)
    assert len(raster(Scene(made.points, made.cut, back, made.two_sided)).pixel) == 0
    half = raster(Scene(made.points, made.cut, back, torch.tensor([True, False])))
    assert set(half.triangle.tolist()) == {0}
    both = raster(Scene(made.points, made.cut, back, torch.tensor([True, True])))
    assert torch.equal(both.pixel, raster(made).pixel)


def test_the_nearest_hides_the_rest() -> None:
    """Two squares; the camera is near where the inverse distance is large."""
    one, other = quad(0.9), quad(1.1)
    points, cut = torch.cat([one.points, other.points], dim=2), torch.cat([one.cut, other.cut], dim=1)
    made = Scene(points, cut, torch.cat([one.faces, other.faces + 4]), torch.zeros(4, dtype=torch.bool))
    assert set(raster(made).triangle.tolist()) == {2, 3}
    away = Scene(points, torch.cat([one.cut, -other.cut], dim=1), made.faces, made.two_sided)
    assert set(raster(away).triangle.tolist()) == {0, 1}


def test_a_cut_runs_where_the_value_is_zero() -> None:
    half = picture(raster(quad(cut=(1.0, 1.0, -1.0, -1.0)))).triangle >= 0  # from +1 on the left to -1 on the right
    expected = np.zeros((SIZE, SIZE), bool)
    expected[2:10, 2:6] = True
    np.testing.assert_array_equal(half, expected)
    for gone in (0.0, -1.0):
        assert len(raster(quad(cut=(gone,) * 4)).pixel) == 0


def test_a_cut_is_in_space_as_weights_are() -> None:
    """A square seen at a slant, cut in its middle: more than half of its picture is the nearer half."""
    made = quad(cut=(1.0, 1.0, -1.0, -1.0))
    made.points[0, 2] = torch.tensor([2.0, 2.0, 0.5, 0.5])
    seen = raster(made)
    value = (made.cut[0][made.faces[seen.triangle]] * seen.weights.T).sum(1)
    assert value.min() > 0
    covered = picture(seen).triangle >= 0
    assert covered[5, 2:8].all() and not covered[5, 8:].any()  # it ends at 0.8 of the 8 pixels from 2 on


@pytest.mark.parametrize("offset", [(-20.0, 0.0), (20.0, 0.0), (0.0, -20.0), (0.0, 20.0), (-9.6, -9.6)])
def test_outside_the_picture(offset: tuple[float, float]) -> None:
    made = quad()
    moved = made.points + torch.tensor([*offset, 0.0])[:, None]
    assert len(raster(Scene(moved, made.cut, made.faces, made.two_sided)).pixel) == 0


def test_over_the_edges() -> None:
    """Larger than the picture on all sides, and so far that only float range holds it."""
    for scale in (10.0, 1e4):
        made = quad()
        made.points[:, :2] = (made.points[:, :2] - 6) * scale + 6
        seen = raster(made)
        assert torch.equal(seen.pixel, torch.arange(SIZE * SIZE))


def test_slivers_are_not_seen() -> None:
    made = quad()
    made.points[:, 0] = 5.5
    assert len(raster(made).pixel) == 0


def test_nothing_at_all() -> None:
    made = quad()
    seen = rasterise(made.points, made.cut, made.faces[:0], made.two_sided[:0], SIZE)
    assert len(seen.pixel) == 0 and seen.weights.shape == (3, 0)


def test_too_many_triangles() -> None:
    made, most = quad(), (1 << TRIANGLE_BITS) - 1
    faces = made.faces[:1].repeat(most, 1)
    fine = rasterise(made.points, made.cut, faces, torch.zeros(most, dtype=torch.bool), SIZE)
    assert len(fine.pixel) > 0 and int(fine.triangle.max()) < most
    with pytest.raises(ValueError, match=f"{most + 1} triangles; at most {most}"):
        rasterise(made.points, made.cut, made.faces[:1].repeat(most + 1, 1), torch.zeros(most + 1).bool(), SIZE)
