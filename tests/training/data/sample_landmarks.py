"""Landmarks of avatars: where they are on the head, and in pictures of drawn people."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from fantasyid_engine.face.pose import FaceModel
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.frames import Frames, Take, pack
from fantasyid_engine.training.avatar.geometry import DISTANCE, FRAME, pose, rotation
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.avatar.motion import Motion

Floats = NDArray[np.float64]
HEAD = make_head()
EXPRESSION_SPREAD = (0.5, 0.4, 0.3, 0.4)
"""Deviations of smile, mouth, blink and brows over the world's clips, roughly."""


def _vertex(x: float, y: float, z: float | None = None) -> int:
    """The nearest of the front, or of all where `z` is given."""
    points = HEAD.template
    if z is not None:
        return int(np.linalg.norm(points - [x, y, z], axis=1).argmin())
    return int((np.hypot(points[:, 0] - x, points[:, 1] - y) + (points[:, 2] < 0)).argmin())


def _pair(x: float, y: float, z: float | None = None) -> list[int]:
    return [_vertex(-x, y, z), _vertex(x, y, z)]


FIVE = [*_pair(0.034, 0.008), _vertex(0, -0.022), *_pair(0.0255, -0.057)]
"""Vertices at the eyes, the nose's tip and the mouth's corners, in the order of `pose.ADULT_FACE`."""
CORNERS = [*_pair(0.0515, 0.008), *_pair(0.0165, 0.008)]
EARS = _pair(0.088, -0.002, -0.012)
FIFTEEN = [*FIVE, *CORNERS, _vertex(0, 0.004), *EARS, _vertex(0, -0.105), *_pair(0.034, 0.04)]
"""With corners of the eyes, bridge of the nose, ears, chin and brows."""


def average(vertices: Sequence[int], *, spread: bool) -> FaceModel:
    """The template's landmarks; with `spread` how shapes and expressions move them."""
    if not spread:
        return FaceModel(points=HEAD.template[vertices])
    faces = HEAD.expression_basis[: len(EXPRESSION_SPREAD), vertices] * np.reshape(EXPRESSION_SPREAD, (-1, 1, 1))
    ways = np.concatenate([HEAD.shape_basis[:, vertices], faces])
    return FaceModel(points=HEAD.template[vertices], spread=ways)


def focal_length(size: int) -> float:
    """Of the world's camera, at zoom 1, in pixels."""
    return size * DISTANCE / FRAME


def screen(frames: Frames, size: int) -> Floats:
    """Where the head's vertices are in pictures: [B, 642, 2], column and row in pixels."""
    vertices = len(HEAD.template)
    return pose(frames, size).screen[:, :2, :vertices].transpose(1, 2).double().numpy()


@dataclass(frozen=True, slots=True)
class Drawn:
    """Frames of people: true poses [B, 3] in radians, and all vertices on the screen [B, 642, 2]."""

    poses: Floats
    screen: Floats


def drawn(count: int, size: int, *, expressions: bool, seed: int = 3) -> Drawn:
    """`count` people, half of them somewhere in a clip, half as in a photo."""
    world, rng = World(seed=seed, split="validation", people=count, num_frames=9), np.random.default_rng(seed)
    takes = []
    for number in range(count):
        sample = world.sample(number)
        take = sample.target if number % 2 else sample.reference
        at = [int(rng.integers(len(take.motion.pose)))]
        motion = Motion(take.motion.pose[at], take.motion.expression[at] * np.float32(expressions))
        takes.append(Take(take.person, motion, take.scene))
    frames = pack(takes)
    return Drawn(frames.pose.double().numpy(), screen(frames, size))


def degrees_between(one: Floats, other: Floats) -> Floats:
    """Of the rotations of poses [B, 3] in radians: [B]."""
    a, b = (rotation(torch.from_numpy(np.asarray(poses, float))) for poses in (one, other))
    trace = torch.einsum("bij,bij->b", a, b).numpy()
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
