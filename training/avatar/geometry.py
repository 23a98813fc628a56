"""From numbers to triangles: one mesh of five parts - head, hair, buns, body, glasses - for every frame.

Topology is the same for all frames; what a person lacks is cut away (hair, glasses). The camera stands 0.9 m before the
head, with perspective.

B frames, V vertices of all parts, T triangles. Metres as in `head`; screen in pixels, rows going down.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.training.avatar.frames import Frames
from fantasyid_engine.training.avatar.hair import bun_tables, hair_tables
from fantasyid_engine.training.avatar.head import EYE, NECK, SHAPE, Floats, Ints, make_head, shape_fields
from fantasyid_engine.training.avatar.motion import EXPRESSION
from fantasyid_engine.training.avatar.person import RIMS

DISTANCE = 0.9
"""From the camera to the head's origin, in metres."""
FRAME = 0.35
"""Height in metres, there, of what a camera of zoom 1 sees."""
UNDER = 0.03
"""How far below the hairline there is still skin, in metres."""
HEAD, HAIR, BUNS, BODY, GLASSES = range(5)


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Tables of all parts, on one device.

    faces [T, 3], part [T], two_sided [T] seen from behind too
    fixed [V, 3] positions without shape or expression; shape [16, V, 3]; expression [6, V, 3]
    ring [V, 6] triangles around each vertex (T: none); turns [V] 1 where a vertex turns with the head
    masks [styles, beards, 642], offsets [styles, beards, 642, 3] of the hair
    buns [styles, 84, 3], with_buns [styles, 84]
    rims [glasses, rim vertices, 3]
    starts: where each part's vertices begin, and the end
    """

    faces: Tensor
    part: Tensor
    two_sided: Tensor
    fixed: Tensor
    shape: Tensor
    expression: Tensor
    ring: Tensor
    turns: Tensor
    masks: Tensor
    offsets: Tensor
    buns: Tensor
    with_buns: Tensor
    rims: Tensor
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Posed:
    """A batch in front of the camera.

    points   [B, V, 3] metres
    normals  [B, V, 3] unit
    screen   [B, 3, V] column, row, inverse distance
    cut      [B, V] a part exists where this is positive
    """

    points: Tensor
    normals: Tensor
    screen: Tensor
    cut: Tensor


@lru_cache(maxsize=4)
def make_model(device: torch.device) -> Model:
    """All parts' tables, made once a device."""
    head = make_head()
    body, body_faces = _body()
    rims, rim_faces = _rims()
    buns, bun_faces, with_buns = bun_tables()
    masks, offsets = hair_tables()
    parts = (head.faces, head.faces, bun_faces, body_faces, rim_faces)
    sizes = (len(head.template), len(head.template), buns.shape[1], len(body), rims.shape[1])
    starts = tuple(np.cumsum([0, *sizes]).tolist())
    faces = np.concatenate([corners + start for corners, start in zip(parts, starts, strict=False)])
    part = np.repeat(np.arange(len(parts)), [len(corners) for corners in parts])
    # Glasses follow the eyes: each point moves as the middle of the eye on its side.
    side = np.sign(rims[1, :, :1])
    anchors = np.concatenate([side * EYE[0], np.full_like(side, EYE[1]), np.full_like(side, 0.09)], axis=1)
    crown = np.tile([[0.0, 0.115, -0.02]], (sizes[2], 1))  # buns move with it

    def still(fields: int, points: int) -> Floats:
        return np.zeros((fields, points, 3))

    shape = [
        head.shape_basis,
        head.shape_basis,
        shape_fields(crown),
        still(len(SHAPE), len(body)),
        shape_fields(anchors),
    ]
    expression = [head.expression_basis, head.expression_basis, still(len(EXPRESSION), sum(sizes[2:]))]

    def tensor(array: NDArray[Any]) -> Tensor:
        made = torch.from_numpy(np.array(array)).to(device)
        return made.float() if made.is_floating_point() else made

    return Model(
        faces=tensor(faces),
        part=tensor(part),
        two_sided=tensor((part == HAIR) | (part == GLASSES)),
        fixed=tensor(
            np.concatenate([head.template, head.template, np.zeros((sizes[2], 3)), body, np.zeros((sizes[4], 3))])
        ),
        shape=tensor(np.concatenate(shape, axis=1)),
        expression=tensor(np.concatenate(expression, axis=1)),
        ring=tensor(_rings(faces, starts[-1])),
        turns=tensor(np.concatenate([np.ones(starts[3]), _body_turns(body), np.ones(sizes[4])])),
        masks=tensor(masks),
        offsets=tensor(offsets),
        buns=tensor(buns),
        with_buns=tensor(with_buns),
        rims=tensor(rims),
        starts=starts,
    )


def pose(frames: Frames, size: int) -> Posed:
    """Shapes, moves, turns and projects every vertex, for pictures of `size` x `size` pixels."""
    model = make_model(frames.shape.device)
    points = model.fixed.expand(len(frames), -1, -1)
    for place, direction in enumerate(model.shape):  # a matrix product's roundings would depend on the batch
        points = torch.addcmul(points, frames.shape[:, place, None, None], direction)
    points = points + torch.einsum("be,evc->bvc", frames.expression, model.expression)
    _, hair, buns, body, rims, end = model.starts
    points[:, hair:buns] += model.offsets[frames.style, frames.beard]
    points[:, buns:body] += model.buns[frames.style]
    points[:, rims:end] += model.rims[frames.glasses]

    pivot = torch.tensor(NECK, device=points.device)
    turned = torch.einsum("bij,bvj->bvi", rotation(frames.pose), points - pivot) + pivot
    points = torch.lerp(points, turned, model.turns[:, None])

    cut = torch.ones(points.shape[:2], device=points.device)
    mask = model.masks[frames.style, frames.beard]
    cut[:, :hair] = UNDER - mask  # what hair hides need not be drawn
    cut[:, hair:buns] = mask
    cut[:, buns:body] = model.with_buns[frames.style]
    cut[:, rims:end] = (frames.glasses > 0).float()[:, None] * 2 - 1
    return Posed(points, _normals(points, model), _project(points, frames.camera, size), cut)


def rotation(pose_B3: Tensor) -> Tensor:
    """Yaw, pitch, roll in radians -> [B, 3, 3]: rolls first, then pitches, then yaws.

    Positive: the face turns to the picture's right, it turns up, the head's top leans to the picture's right.
    """
    (cy, cp, cr), (sy, sp, sr) = pose_B3.cos().unbind(-1), pose_B3.sin().unbind(-1)
    zero, one = torch.zeros_like(cy), torch.ones_like(cy)
    yaw = torch.stack([cy, zero, sy, zero, one, zero, -sy, zero, cy], dim=-1).view(-1, 3, 3)
    pitch = torch.stack([one, zero, zero, zero, cp, sp, zero, -sp, cp], dim=-1).view(-1, 3, 3)
    roll = torch.stack([cr, sr, zero, -sr, cr, zero, zero, zero, one], dim=-1).view(-1, 3, 3)
    return yaw @ pitch @ roll


def pixel_metres(camera_B3: Tensor, size: int) -> Tensor:
    """How many metres one pixel shows between the ears, [B]."""
    return FRAME / (camera_B3[:, 0] * size)


def _project(points: Tensor, camera_B3: Tensor, size: int) -> Tensor:
    zoom, right, up = camera_B3[:, None].unbind(-1)
    near = 1 / (DISTANCE - points[..., 2]).clamp(min=0.1)
    scale = zoom * size * DISTANCE / FRAME * near
    column = (0.5 + right) * size + points[..., 0] * scale
    row = (0.5 - up) * size - (points[..., 1] - 0.004) * scale
    return torch.stack([column, row, near], dim=1)


def _normals(points: Tensor, model: Model) -> Tensor:
    a, b, c = points[:, model.faces].unbind(2)
    flat = torch.cat([torch.cross(b - a, c - a, dim=-1), points.new_zeros(len(points), 1, 3)], dim=1)
    return torch.nn.functional.normalize(flat[:, model.ring].sum(2), dim=-1)


def _rings(faces: Ints, vertices: int) -> Ints:
    around: list[list[int]] = [[] for _ in range(vertices)]
    for number, corners in enumerate(faces):
        for corner in corners:
            around[corner].append(number)
    most = max(map(len, around))
    return np.array([ring + [len(faces)] * (most - len(ring)) for ring in around])


BODY_RINGS = (
    (-0.050, 0.036, 0.040, -0.026),
    (-0.115, 0.041, 0.044, -0.025),
    (-0.142, 0.050, 0.050, -0.026),
    (-0.152, 0.085, 0.062, -0.028),
    (-0.164, 0.130, 0.070, -0.030),
    (-0.190, 0.165, 0.080, -0.030),
    (-0.260, 0.185, 0.095, -0.030),
)
"""Neck and shoulders as ellipses: height, half width, half depth, middle's z."""
COLLAR = -0.140
"""Below this height a body is clothed."""


def _body(around: int = 24) -> tuple[Floats, Ints]:
    angles = np.arange(around) * 2 * np.pi / around
    points = [(w * np.sin(a), y, z + d * np.cos(a)) for y, w, d, z in BODY_RINGS for a in angles]
    faces = []
    for ring in range(len(BODY_RINGS) - 1):
        for i in range(around):
            upper, beside = ring * around + i, ring * around + (i + 1) % around
            faces += [(upper, upper + around, beside), (beside, upper + around, beside + around)]
    return np.array(points), np.array(faces)


def _body_turns(body: Floats) -> Floats:
    return np.clip((body[:, 1] + 0.115) / 0.055, 0, 1) * 0.6


def _rims(around: int = 20) -> tuple[Floats, Ints]:
    """Points of each kind of glasses [kinds, n, 3] (about the origin for those without), triangles [m, 3].

    Two closed ribbons, a bridge, two arms; each ribbon is an inner and an outer line.
    """
    angles = np.arange(around) * 2 * np.pi / around
    across, along = np.sin(angles), np.cos(angles)
    kinds = []
    for kind in RIMS:
        half_width, half_height, power = {
            "none": (0.02, 0.02, 1.0),
            "round": (0.0235, 0.0225, 1.0),
            "square": (0.0250, 0.0190, 0.5),
            "narrow": (0.0250, 0.0135, 0.7),
        }[kind]
        x, y = (np.sign(v) * np.abs(v) ** power for v in (across, along))
        lines = []
        for side in (1, -1):
            for grown in (0.0, 0.0034):
                ring = np.stack(
                    [side * EYE[0] + (half_width + grown) * x, EYE[1] + (half_height + grown) * y, np.zeros(around)], 1
                )
                ring[:, 2] = 0.099 - 6.0 * (np.abs(ring[:, 0]) - 0.01).clip(0) ** 2
                lines.append(ring)
        inner, outer = EYE[0] - half_width, EYE[0] + half_width
        bars = [
            (-inner, EYE[1] + 0.004, 0.1),
            (-inner, EYE[1] + 0.0075, 0.1),
            (inner, EYE[1] + 0.0075, 0.1),
            (inner, EYE[1] + 0.004, 0.1),
        ]
        for side in (1, -1):
            z = 0.099 - 6.0 * (outer - 0.01) ** 2
            bars += [(side * outer, EYE[1] + 0.006, z), (side * outer, EYE[1] + 0.0095, z)]
            bars += [(side * 0.088, EYE[1] + 0.0095, -0.005), (side * 0.088, EYE[1] + 0.006, -0.005)]
        kinds.append(np.concatenate([*lines, np.array(bars)]))
    faces = []
    for eye in range(2):
        start = eye * 2 * around
        for i in range(around):
            j = (i + 1) % around
            a, b, c, d = start + i, start + j, start + around + i, start + around + j
            faces += [(a, b, c), (c, b, d)]
    for start in range(4 * around, 4 * around + 12, 4):
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
    return np.array(kinds), np.array(faces)
