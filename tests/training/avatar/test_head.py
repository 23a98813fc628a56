"""The head is the network's mesh, symmetric, and each direction moves what its name says."""

from collections.abc import Callable

import numpy as np
import pytest

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.icosphere import icosphere_hierarchy
from fantasyid_engine.training.avatar.head import EYE, MOUTH, SHAPE, Floats, make_head
from fantasyid_engine.training.avatar.motion import EXPRESSION
from fantasyid_engine.training.avatar.person import draw_person

HEAD = make_head()
CONFIG = MeshConfig(levels=(642, 162, 42), spiral_length=9)
Measure = Callable[[Floats], float]


def at(x: float, y: float) -> int:
    """The vertex of the face that is nearest to (x, y) of the template."""
    away = np.hypot(HEAD.template[:, 0] - x, HEAD.template[:, 1] - y)
    return int(np.where(HEAD.template[:, 2] > 0, away, np.inf).argmin())


def apart(axis: int, one: tuple[float, float], other: tuple[float, float]) -> Measure:
    first, second = at(*one), at(*other)
    assert first != second
    return lambda v: v[second, axis] - v[first, axis]


def place(axis: int, x: float, y: float) -> Measure:
    vertex = at(x, y)
    return lambda v: v[vertex, axis]


def width_at(height: float) -> Measure:
    level = np.abs(HEAD.template[:, 1] - height) < 0.008
    return lambda v: np.ptp(v[level, 0])


def eye_spread(v: Floats) -> float:
    near = (HEAD.template[:, 2] > 0) & (np.hypot(*(HEAD.template[:, :2] - EYE).T) < 0.022)
    assert near.sum() >= 6
    return np.linalg.norm(v[near] - v[near].mean(0), axis=1).mean()


def ear_to_ear(v: Floats) -> float:
    return np.ptp(v[:, 0])


EYE_OUT, EYE_IN = (EYE[0] + 0.014, EYE[1]), (EYE[0] - 0.014, EYE[1])
GROWS: dict[str, tuple[Measure, float]] = {
    "face_width": (ear_to_ear, 0.010),
    "head_height": (lambda v: v[:, 1].max(), 0.008),
    "jaw": (width_at(-0.082), 0.005),
    "jaw_sharpness": (lambda v: -width_at(-0.095)(v), 0.005),
    "cheek": (place(2, 0.046, -0.034), 0.003),
    "brow_ridge": (place(2, 0.030, 0.036), 0.003),
    "nose_length": (place(2, 0, -0.022), 0.003),
    "nose_width": (apart(0, (-0.011, -0.02), (0.011, -0.02)), 0.001),
    "eye_size": (eye_spread, 0.0005),
    "eye_distance": (apart(0, (-EYE[0], EYE[1]), EYE), 0.005),
    "eye_slant": (apart(1, EYE_IN, EYE_OUT), 0.001),
    "mouth_width": (apart(0, (-0.0255, MOUTH[1]), (0.0255, MOUTH[1])), 0.003),
    "lips": (apart(1, (0, MOUTH[1] - 0.011), (0, MOUTH[1] + 0.011)), 0.001),
    "chin": (place(2, 0, -0.105), 0.002),
    "ears": (ear_to_ear, 0.004),
    "forehead": (place(2, 0, 0.085), 0.003),
}
"""What one unit of each makes larger, and by how many metres at least."""

LOCAL = {
    "nose_length": ((0, -0.024), 0.055),
    "nose_width": ((0, -0.020), 0.060),
    "eye_size": (EYE, 0.070),
    "eye_distance": (EYE, 0.070),
    "eye_slant": (EYE, 0.070),
    "brow_ridge": ((0.03, 0.036), 0.080),
    "mouth_width": (MOUTH, 0.090),
    "lips": (MOUTH, 0.090),
    "chin": ((0, -0.105), 0.085),
    "ears": ((0.09, -0.002), 0.075),
}
"""Where each is, and how far from there (or its mirror image) it still moves anything by a tenth of its most."""


def shaped(name: str, amount: float) -> Floats:
    shape = np.zeros(len(SHAPE))
    shape[SHAPE.index(name)] = amount
    return HEAD.vertices(shape)


def expressed(name: str) -> Floats:
    return HEAD.expression_basis[EXPRESSION.index(name)]


def flat_normals(vertices: Floats) -> Floats:
    a, b, c = vertices[HEAD.faces].transpose(1, 0, 2)
    return np.cross(b - a, c - a)


@pytest.fixture(scope="module")
def mirror() -> Floats:
    """Each vertex's mirror image."""
    image = HEAD.template * [-1, 1, 1]
    return np.linalg.norm(HEAD.template[:, None] - image, axis=2).argmin(0)


def test_is_the_networks_mesh() -> None:
    hierarchy = icosphere_hierarchy(CONFIG)
    assert HEAD.template.shape == (hierarchy.levels[0], 3) == (642, 3)
    assert np.array_equal(HEAD.faces, hierarchy.faces.numpy())
    assert HEAD.shape_basis.shape == (len(SHAPE), 642, 3) and HEAD.expression_basis.shape == (len(EXPRESSION), 642, 3)


def test_a_spiral_is_a_patch_of_the_head() -> None:
    """Vertices kept their order when they were drawn to the face: each has its ring around it."""
    hierarchy = icosphere_hierarchy(CONFIG)
    for spiral, most in zip(hierarchy.spirals, (0.04, 0.07), strict=True):
        ring = HEAD.template[: len(spiral)][spiral[:, :6].numpy()]
        assert np.linalg.norm(ring - ring[:, :1], axis=2).max() < most


def test_closed_and_outward() -> None:
    """Each edge once in either direction; the origin sees every triangle from behind, and together they surround it."""
    directed = [(int(f[i]), int(f[(i + 1) % 3])) for f in HEAD.faces for i in range(3)]
    assert len(set(directed)) == len(directed) and {(b, a) for a, b in directed} == set(directed)
    corners = HEAD.template[HEAD.faces] / np.linalg.norm(HEAD.template[HEAD.faces], axis=2, keepdims=True)
    (a, b, c), turns = corners.transpose(1, 0, 2), np.linalg.det(corners)
    angles = 2 * np.arctan2(turns, 1 + (a * b).sum(1) + (b * c).sum(1) + (c * a).sum(1))
    assert angles.min() > 0
    np.testing.assert_allclose(angles.sum(), 4 * np.pi, rtol=1e-12)


def test_is_a_head_in_metres() -> None:
    width, height, depth = np.ptp(HEAD.template, axis=0)
    assert 0.13 < width < depth < height < 0.26
    forward = HEAD.template[:, 2].argmax()
    np.testing.assert_allclose(HEAD.template[forward, :2], (0, -0.022), atol=0.012)  # the nose


def test_vertices_are_closer_together_on_the_face() -> None:
    edge = np.linalg.norm(HEAD.template[HEAD.faces] - HEAD.template[np.roll(HEAD.faces, 1, axis=1)], axis=2).mean(1)
    middle = HEAD.template[HEAD.faces].mean(1)
    face = (middle[:, 2] > 0.06) & (np.abs(middle[:, 0]) < 0.045) & (np.abs(middle[:, 1]) < 0.08)
    assert edge[face].mean() < 0.75 * edge[middle[:, 2] < 0].mean()


def test_both_sides_are_alike(mirror: Floats) -> None:
    """The template, and whatever moves it: people differ left from right in their hair alone."""
    assert sorted(mirror) == list(range(642))
    np.testing.assert_allclose(HEAD.template[mirror], HEAD.template * [-1, 1, 1], atol=1e-12)
    for basis in (*HEAD.shape_basis, *HEAD.expression_basis):
        np.testing.assert_allclose(basis[mirror], basis * [-1, 1, 1], atol=1e-12)


def test_vertices_are_linear() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, len(SHAPE)))
    assert np.array_equal(HEAD.vertices(np.zeros(len(SHAPE))), HEAD.template)
    moved = HEAD.vertices(2 * first - second) - HEAD.template
    np.testing.assert_allclose(moved, 2 * HEAD.vertices(first) - HEAD.vertices(second) - HEAD.template, atol=1e-12)
    for row, name in enumerate(SHAPE):
        np.testing.assert_allclose(shaped(name, 1.5) - HEAD.template, 1.5 * HEAD.shape_basis[row], atol=1e-12)
    with pytest.raises(ValueError):
        HEAD.vertices(np.zeros(len(SHAPE) - 1))


@pytest.mark.parametrize("name", SHAPE)
def test_a_shape_direction_does_what_its_name_says(name: str) -> None:
    measure, at_least = GROWS[name]
    values = [measure(shaped(name, amount)) for amount in (-2, -1, 0, 1, 2)]
    assert np.diff(values).min() > at_least


def test_more_that_names_say() -> None:
    for name, axis, x, y in (("nose_length", 1, 0, -0.024), ("chin", 1, 0, -0.105), ("jaw_sharpness", 1, 0, -0.105)):
        vertex = at(x, y)
        assert shaped(name, 1)[vertex, axis] < HEAD.template[vertex, axis] - 0.001
    eyes = np.hypot(np.abs(HEAD.template[:, 0]) - EYE[0], HEAD.template[:, 1] - EYE[1]) < 0.015
    assert np.linalg.norm(shaped("mouth_width", 2)[eyes] - HEAD.template[eyes], axis=1).max() < 0.0001


@pytest.mark.parametrize("name", LOCAL)
def test_a_shape_direction_stays_where_it_belongs(name: str) -> None:
    (x, y), radius = LOCAL[name]
    moves = np.linalg.norm(HEAD.shape_basis[SHAPE.index(name)], axis=1)
    away = np.hypot(np.abs(HEAD.template[:, 0]) - x, HEAD.template[:, 1] - y)
    assert moves[away > radius].max() < 0.1 * moves.max()
    if name != "ears":
        assert moves[HEAD.template[:, 2] < 0].max() < 0.1 * moves.max()


def test_directions_are_independent() -> None:
    """No two are nearly the same direction, so shapes of other numbers are other heads."""
    flat = HEAD.shape_basis.reshape(len(SHAPE), -1)
    flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert np.abs(flat @ flat.T - np.eye(len(SHAPE))).max() < 0.95
    assert np.linalg.svd(flat, compute_uv=False).min() > 0.1


def test_no_head_is_folded() -> None:
    """Of 300 people: no triangle turns away from where it faces on the template, or shrinks to a sliver."""
    rng, usual = np.random.default_rng(0), flat_normals(HEAD.template)
    usual_size = np.linalg.norm(usual, axis=1)
    for number in range(300):
        made = flat_normals(HEAD.vertices(draw_person(rng).shape))
        size = np.linalg.norm(made, axis=1)
        assert ((made * usual).sum(1) > 0.1 * size * usual_size).all(), number
        assert size.min() / 2 > 5e-6, number  # square metres; the template's smallest has 32e-6


def test_mouth_open_lowers_the_chin() -> None:
    field = expressed("mouth_open")
    for y in (-0.10, -0.08):
        assert field[at(0, y), 1] < -0.010
    assert np.abs(field[HEAD.template[:, 1] > -0.04]).max() == 0
    assert np.abs(field[HEAD.template[:, 2] < 0]).max() == 0


def test_smile_lifts_the_corners_and_widens_the_mouth() -> None:
    field = expressed("smile")
    for side in (1, -1):
        x, y, _ = field[at(side * 0.028, -0.055)]
        assert y > 0.005 and side * x > 0.002
    assert field[:, 1].min() >= 0 and np.abs(field[at(0, 0.08)]).max() < 1e-4


def test_brows_lift_the_brows() -> None:
    field = expressed("brows")
    assert min(field[at(side * 0.034, 0.040), 1] for side in (1, -1)) > 0.004
    assert field[:, 1].min() >= 0 and np.abs(field[HEAD.template[:, 1] < -0.02]).max() < 1e-4


def test_blink_moves_lids_and_gaze_nothing() -> None:
    field = np.abs(expressed("blink"))
    eye = np.hypot(np.abs(HEAD.template[:, 0]) - EYE[0], HEAD.template[:, 1] - EYE[1])
    assert field[at(*EYE)].max() > 0.001 and field[eye > 0.05].max() < 1e-4
    assert not expressed("gaze_x").any() and not expressed("gaze_y").any()


def test_tables_are_shared_and_read_only() -> None:
    assert make_head() is HEAD
    make_head.cache_clear()
    again = make_head()
    for name in ("template", "faces", "shape_basis", "expression_basis"):
        table = getattr(HEAD, name)
        assert np.array_equal(table, getattr(again, name))
        with pytest.raises(ValueError, match="read-only"):
            table[0] = 0
