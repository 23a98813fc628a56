"""A parametric head, like FLAME in miniature: one mesh of 642 vertices that shape, expression and pose move.

    vertices = template + sum_i shape[i] * shape_basis[i] + sum_j expression[j] * expression_basis[j]

The mesh is the subdivided icosahedron of `models.icosphere`, whose hierarchy is 642 -> 162 -> 42. Before it is formed
into a head, a conformal map of the sphere draws vertices to the face: about 11 mm apart there, 18 mm elsewhere. All
fields are smooth functions of the template's positions, so they can be evaluated at other points (glasses) too.

V vertices; x to the picture's right, y up, z towards the viewer, in metres, the origin between the ears.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.models.icosphere import icosahedron, subdivide

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHAPE = (
    "face_width",
    "head_height",
    "jaw",
    "jaw_sharpness",
    "cheek",
    "brow_ridge",
    "nose_length",
    "nose_width",
    "eye_size",
    "eye_distance",
    "eye_slant",
    "mouth_width",
    "lips",
    "chin",
    "ears",
    "forehead",
)
"""Names of the shape directions; one unit of each is one standard deviation over people."""

EYE = (0.034, 0.008)
"""Centre of the eye on the right of the picture, (x, y) of the template; the other is its mirror image."""
MOUTH = (0.0, -0.057)
NECK = (0.0, -0.085, -0.02)
"""About this point a head turns."""
SUBDIVISIONS = 3
CROWDING = 0.62
"""Scale of the conformal map at the face."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The head's tables, shared by all people.

    template          [V, 3] metres
    faces             [T, 3] outward triangles
    shape_basis       [16, V, 3] metres a unit, in the order of `SHAPE`
    expression_basis  [6, V, 3] metres a unit, in the order of `motion.EXPRESSION`
    """

    template: Floats
    faces: Ints
    shape_basis: Floats
    expression_basis: Floats

    def vertices(self, shape: Floats) -> Floats:
        """Shape [16] -> [V, 3] metres, pose and expression zero: the identity's vertices V_s of the paper."""
        return self.template + np.tensordot(shape, self.shape_basis, axes=1)


@lru_cache(maxsize=1)
def make_head() -> Head:
    """The head of this world; the same at every call."""
    points, faces = icosahedron()
    for _ in range(SUBDIVISIONS):
        points, faces, _ = subdivide(points, faces)
    template = _template(_crowded(points))
    made = Head(template, faces, shape_fields(template), expression_fields(template))
    for table in (made.template, made.faces, made.shape_basis, made.expression_basis):
        table.setflags(write=False)
    return made


def _crowded(points: Floats) -> Floats:
    """Moves unit vectors towards the face without bending angles: a scaling of the stereographic plane."""
    axis = np.array([0.0, -0.15, 1.0]) / np.hypot(0.15, 1.0)
    along = points @ axis
    squared = CROWDING**2
    moved = ((1 + along) - squared * (1 - along)) / ((1 + along) + squared * (1 - along))
    across = points - along[:, None] * axis
    length = np.linalg.norm(across, axis=1, keepdims=True)
    return moved[:, None] * axis + np.sqrt(np.clip(1 - moved**2, 0, 1))[:, None] * across / np.maximum(length, 1e-12)


def _template(sphere: Floats) -> Floats:
    x, y, z = sphere.T
    wide = 0.079 - 0.007 * _step(-y, 0.1, 0.9)
    front, back = 0.094 * np.abs(z) ** 0.8, -0.108 * np.abs(z)
    head = np.stack(
        [wide * x, np.where(y > 0, 0.124 * y * (1.22 - 0.22 * y * y), 0.117 * y), np.where(z > 0, front, back)], axis=1
    )
    x, y, z = head.T
    forward = (
        0.020 * _bump(head, 0, -0.022, 0.0095, 0.013)  # the tip of the nose
        + 0.010 * _bump(head, 0, 0.004, 0.008, 0.018)  # its bridge
        - 0.008 * _both(head, *EYE, 0.017, 0.013)
        + 0.004 * _both(head, 0.030, 0.036, 0.022, 0.009)
        + 0.005 * _both(head, 0.044, -0.032, 0.020, 0.018)
        + 0.006 * _bump(head, *MOUTH, 0.020, 0.011)
        - 0.004 * _bump(head, 0, -0.080, 0.020, 0.007)
        + 0.009 * _bump(head, 0, -0.100, 0.018, 0.013)
    )
    return head + forward[:, None] * [0, 0, 1] + ears(head)


def ears(points: Floats) -> Floats:
    """How far ears stand out of a head without them, [V, 3] -> [V, 3] metres."""
    out = 0.019 * _ear(points)
    return np.stack([np.sign(points[:, 0]) * out, 0.3 * out, -0.4 * out], axis=1)


def shape_fields(points: Floats) -> Floats:
    """How one unit of each shape direction moves points of the template, [V, 3] -> [16, V, 3]."""
    x, y, _ = points.T
    side, front = np.sign(x), _front(points)
    still = np.zeros_like(x)
    low, jaw = _step(-y, 0.01, 0.09), _bump(points, None, -0.066, 0, 0.022)
    point = _bump(points, None, -0.112, 0, 0.016)
    eye_x, eye_y = side * EYE[0], EYE[1]
    eye = front * _both(points, *EYE, 0.022, 0.017)
    nose, mouth = _bump(points, 0, -0.018, 0.013, 0.018), _bump(points, *MOUTH, 0.030, 0.014)
    cheek, brow = _both(points, 0.046, -0.034, 0.020, 0.020), _both(points, 0.030, 0.036, 0.026, 0.010)
    tip, chin = _bump(points, 0, -0.024, 0.012, 0.012), _bump(points, 0, -0.105, 0.026, 0.020)
    ear, high = _ear(points), _step(y, 0.02, 0.11)
    fields = {
        "face_width": (0.085 * x, still, still),
        "head_height": (still, 0.0105 * high - 0.004 * low, still),
        "jaw": (0.13 * x * jaw, still, still),
        "jaw_sharpness": (-0.20 * x * point, -0.0035 * chin, 0.003 * chin),
        "cheek": (0.0045 * side * cheek, still, 0.0045 * cheek),
        "brow_ridge": (still, -0.001 * brow, 0.0045 * brow),
        "nose_length": (still, -0.0055 * tip, 0.0055 * tip),
        "nose_width": (0.26 * x * nose, still, still),
        "eye_size": (0.16 * (x - eye_x) * eye, 0.20 * (y - eye_y) * eye, still),
        "eye_distance": (0.0036 * side * eye, still, still),
        "eye_slant": (still, 0.16 * (np.abs(x) - EYE[0]) * eye, still),
        "mouth_width": (0.17 * x * mouth, still, still),
        "lips": (still, 0.22 * (y - MOUTH[1]) * mouth, 0.0015 * mouth),
        "chin": (still, -0.0055 * chin, 0.004 * chin),
        "ears": (0.006 * side * ear, 0.12 * y * ear, -0.003 * ear),
        "forehead": (still, 0.003 * high * front, 0.006 * high * front),
    }
    return np.stack([np.stack(fields[name], axis=1) for name in SHAPE])


def expression_fields(points: Floats) -> Floats:
    """How one unit of each coefficient of `motion.EXPRESSION` moves points, [V, 3] -> [6, V, 3]; gaze moves none."""
    x, y, _ = points.T
    side, still = np.sign(x), np.zeros_like(x)
    corner, cheek = _both(points, 0.028, -0.055, 0.014, 0.013), _both(points, 0.044, -0.030, 0.018, 0.016)
    lower = _step(MOUTH[1] - y, -0.004, 0.022) * _front(points)
    brow, lid = _both(points, 0.034, 0.040, 0.024, 0.011), _both(points, *EYE, 0.016, 0.011)
    smile = (0.004 * side * corner, 0.0075 * corner + 0.003 * cheek, 0.003 * cheek - 0.002 * corner)
    mouth_open = (still, -0.017 * lower, -0.004 * lower)
    blink, brows = (still, still, 0.0025 * lid), (still, 0.0065 * brow, still)
    gaze = (still, still, still)
    return np.stack([np.stack(field, axis=1) for field in (smile, mouth_open, blink, brows, gaze, gaze)])


def _front(points: Floats) -> Floats:
    return _step(points[:, 2], 0.0, 0.035)


def _bump(points: Floats, cx: float | None, cy: float, sx: float, sy: float) -> Floats:
    """1 at (cx, cy) of the face, falling off as a Gaussian; with no `cx` a band around the whole head."""
    band = np.exp(-(((points[:, 1] - cy) / sy) ** 2) / 2)
    return band if cx is None else band * np.exp(-(((points[:, 0] - cx) / sx) ** 2) / 2) * _front(points)


def _both(points: Floats, cx: float, cy: float, sx: float, sy: float) -> Floats:
    mirrored = np.abs(points) * [1, 0, 0] + points * [0, 1, 1]
    return _bump(mirrored, cx, cy, sx, sy)


def _ear(points: Floats) -> Floats:
    x, y, z = points.T
    near = np.exp(-(((y + 0.002) / 0.021) ** 2) / 2 - (((z + 0.012) / 0.013) ** 2) / 2)
    return near * _step(np.abs(x), 0.04, 0.065)


def _step(value: Floats, start: float, stop: float) -> Floats:
    """0 below `start`, 1 above `stop`, smooth between."""
    t = np.clip((value - start) / (stop - start), 0, 1)
    return t * t * (3 - 2 * t)
