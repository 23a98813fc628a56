"""Hair and full beards: a shell over the head's own mesh, cut at the hairline.

Each vertex of the shell is the head's vertex moved by `offset`; the shell exists where `mask`, interpolated over its
triangles, is positive. Both depend on the style alone, so they are tables. Metres, coordinates as in `head`.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from fantasyid_engine.models.icosphere import icosahedron, subdivide
from fantasyid_engine.training.avatar.head import MOUTH, Floats, Ints, ears, make_head

BEARDS = ("none", "stubble", "moustache", "goatee", "full")
FULL = BEARDS.index("full")
AZIMUTHS = (0.0, 0.75, 1.15, 1.5, 1.85, np.pi)
"""Directions from the face (0) over the ear (1.6) to the back, where a hairline's heights are given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How hair grows: thicknesses in metres.

    line   heights of the hairline at `AZIMUTHS`
    part   how much the line rises towards the picture's right, a metre a metre
    hang   0: follows the skull, 1: falls straight from the temples
    drop   how far its lower end falls below the head's
    bumps  depth and number of curls or spikes around the head
    buns   balls of hair, at most two: middle (x, y, z) and radius
    strip  half the width of a mohawk; None: hair grows everywhere above the line
    """

    line: tuple[float, ...] = (0.078, 0.066, 0.030, 0.004, -0.040, -0.072)
    top: float = 0.016
    side: float = 0.007
    back: float = 0.010
    front: float = 0.0
    part: float = 0.0
    hang: float = 0.0
    drop: float = 0.0
    bumps: tuple[float, float] = (0.0, 0.0)
    buns: tuple[tuple[float, float, float, float], ...] = ()
    strip: float | None = None


SHORT = Style()
LONG_LINE = (0.078, 0.060, -0.060, -0.130, -0.150, -0.150)
STYLES: dict[str, Style | None] = {
    "bald": None,
    "buzz": replace(SHORT, top=0.004, side=0.003, back=0.003),
    "short": SHORT,
    "fringe": replace(SHORT, line=(0.050, 0.048, 0.020, 0.000, -0.040, -0.072), top=0.020, side=0.010),
    "quiff": replace(SHORT, top=0.020, side=0.004, front=0.032),
    "side part": replace(SHORT, top=0.024, side=0.010, part=0.55, line=(0.072, 0.064, 0.028, 0.0, -0.04, -0.07)),
    "spiky": replace(SHORT, top=0.030, side=0.010, bumps=(0.020, 9.0)),
    "curly": replace(SHORT, top=0.030, side=0.024, back=0.026, bumps=(0.010, 7.0)),
    "afro": replace(SHORT, top=0.046, side=0.044, back=0.040, line=(0.080, 0.070, 0.030, -0.010, -0.06, -0.08)),
    "bob": Style(line=(0.076, 0.058, -0.060, -0.100, -0.100, -0.100), top=0.018, side=0.018, back=0.018, hang=0.9),
    "bob with fringe": Style(
        line=(0.046, 0.044, -0.055, -0.1, -0.1, -0.1), top=0.018, side=0.018, back=0.018, hang=0.9
    ),
    "long": Style(line=LONG_LINE, top=0.016, side=0.016, back=0.020, hang=1.0, drop=0.09),
    "long and wavy": Style(line=LONG_LINE, top=0.020, side=0.026, back=0.02, hang=1.0, drop=0.07, bumps=(0.010, 6.0)),
    "top knot": replace(SHORT, top=0.007, side=0.004, back=0.005, buns=((0.0, 0.143, -0.025, 0.034),)),
    "two buns": replace(SHORT, top=0.009, buns=((0.070, 0.118, -0.02, 0.031), (-0.070, 0.118, -0.02, 0.031))),
    "flat top": replace(SHORT, top=0.034, side=0.003, back=0.006, front=0.012),
    "mohawk": replace(SHORT, top=0.050, side=0.03, back=0.03, strip=0.026, line=(0.07, 0.07, 0.06, 0.05, 0, -0.07)),
}
"""By name; None has no hair."""


@lru_cache(maxsize=1)
def hair_tables() -> tuple[Floats, Floats]:
    """Of each style and beard: mask [styles, beards, V] and offset [styles, beards, V, 3] metres."""
    tables = [[_with_beard(*_hair(style), beard) for beard in BEARDS] for style in STYLES.values()]
    masks = np.array([[mask for mask, _ in row] for row in tables])
    offsets = np.array([[offset for _, offset in row] for row in tables])
    for table in (masks, offsets):
        table.setflags(write=False)
    return masks, offsets


@lru_cache(maxsize=1)
def bun_tables() -> tuple[Floats, Ints, Floats]:
    """Of each style: points [styles, 84, 3] metres, triangles [160, 3], and where there are any [styles, 84] > 0."""
    ball, faces = icosahedron()
    ball, faces, _ = subdivide(ball, faces)
    points = np.zeros((len(STYLES), 2, len(ball), 3))
    there = np.full((len(STYLES), 2, len(ball)), -1.0)
    for row, style in enumerate(STYLES.values()):
        for number, (x, y, z, radius) in enumerate(style.buns if style else ()):
            points[row, number], there[row, number] = (x, y, z) + radius * ball, 1.0
    shape = len(STYLES), 2 * len(ball)
    made = points.reshape(*shape, 3), np.concatenate([faces, faces + len(ball)]), there.reshape(shape)
    for table in made:
        table.setflags(write=False)
    return made


def _hair(style: Style | None) -> tuple[Floats, Floats]:
    points = make_head().template
    if style is None:
        return np.full(len(points), -1.0), np.zeros_like(points)
    x, y, z = points.T
    azimuth = np.arctan2(np.abs(x), z)
    mask = y - np.interp(azimuth, AZIMUTHS, style.line) - style.part * x * (z > 0) * (y > 0.03)
    if style.strip is not None:
        mask = np.minimum(mask, style.strip - np.abs(x))

    high, rear = np.clip(y / 0.10, 0, 1), np.clip(-z / 0.09, 0, 1) * np.clip(1 - y / 0.10, 0, 1)
    thick = style.top * high + style.back * rear + style.side * np.clip(1 - high - rear, 0, 1)
    depth, count = style.bumps
    thick = thick + depth * np.sin(count * np.arctan2(x, z)) * np.sin(count * 11 * y) * (mask > 0)
    ear = ears(points * [0.82, 1, 1])  # roughly where they stood out
    if not style.hang:
        mask = mask - 4 * np.abs(ear[:, 0])
    thick = np.maximum(thick, 0.002) * np.clip(0.25 + mask / 0.02, 0.0, 1)
    out = points / np.linalg.norm(points * [1, 0.75, 1], axis=1, keepdims=True)
    out = out / np.linalg.norm(out, axis=1, keepdims=True)
    offset = thick[:, None] * out - 0.8 * ear

    brow = np.exp(-(np.linalg.norm((points - [0, 0.105, 0.055]) / [0.045, 0.04, 0.04], axis=1) ** 2) / 2)
    offset += style.front * brow[:, None] * np.array([0.0, 0.8, 0.45])
    below = np.clip(-y / 0.06, 0, 1) * np.clip(azimuth - 0.7, 0, 1)
    radius = np.hypot(x / 0.080, z / 0.100)
    fallen = np.minimum(1 / np.maximum(radius, 0.35), 2.2) - 1
    offset[:, 0] += style.hang * below * fallen * x
    offset[:, 2] += style.hang * below * fallen * np.minimum(z, 0)
    offset[:, 1] -= style.drop * below
    return mask, offset


def _with_beard(mask: Floats, offset: Floats, beard: str) -> tuple[Floats, Floats]:
    if beard != "full":
        return mask, offset
    points = make_head().template
    x, y, z = points.T
    azimuth = np.arctan2(np.abs(x), z)
    grows = np.interp(azimuth, (0.0, 0.45, 1.1, 1.45, 1.7), (-0.074, -0.058, -0.030, 0.02, -0.2)) - y
    grows = np.minimum(grows, np.hypot(x / 1.6, y - MOUTH[1]) - 0.017)
    thick = 0.010 * np.clip(0.2 + grows / 0.02, 0, 1)[:, None] * np.array([0.6, -0.8, 0.7])
    out = np.sign(points) * [1, 0, 0] + [0, 1, 1]
    return np.maximum(mask, grows), np.where((grows > mask)[:, None], thick * out, offset)
