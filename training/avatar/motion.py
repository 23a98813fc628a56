"""How a head and its face move through a clip.

Paths are given at key times, as fractions of the clip, and eased between them; the keys that carry a motion fall on
frames, so that a short clip shows it too. A motion takes most of its clip: a VAE that halves the frames shows a head
that jumps between two as two heads. F frames.

    pose        yaw, pitch, roll in radians: + turns towards the picture's right, up, and the head's top to the right
    expression  coefficients in the order of `EXPRESSION`
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.vocabulary import check_motion, check_value

Floats = NDArray[np.float64]
Rng = np.random.Generator

EXPRESSION = ("smile", "mouth_open", "blink", "brows", "gaze_x", "gaze_y")
"""Corners of the mouth, mouth, eyelids, brows and eyes; + smiles, opens, shuts, raises, looks right and looks up."""
LOWEST = (-1, 0, 0, -1, -1, -1)
HIGHEST = (1, 1, 1, 1, 1, 1)
START_RANGE = (0.2, 0.12, 0.08)
"""How far yaw, pitch and roll may be from zero when a clip starts."""
REFERENCE_RANGE = (0.4, 0.2, 0.12)
"""The same for a reference photo."""

_YAW, _PITCH, _ROLL = range(3)
_SMILE, _MOUTH, _BLINK, _BROWS, _GAZE_X, _GAZE_Y = range(6)
_GAZE_LEAD = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Motion:
    """What moves in a clip.

    Attributes:
        pose: [F, 3] float32, yaw, pitch and roll in radians.
        expression: [F, 6] float32, coefficients in the order of `EXPRESSION`.
    """

    pose: NDArray[np.float32]
    expression: NDArray[np.float32]


def motion_path(motion: str, expression: str, num_frames: int, rng: Rng, *, amplitude: float = 1.0) -> Motion:
    """A motion of `vocabulary.VALUES`, made with a face of this expression; it is seen from five frames on.

    `amplitude` scales how far everything goes from where it starts: at 0 all frames are equal. Coefficients stay in
    their ranges, whatever it is. Only `blink` shuts the eyes.

    Raises:
        ValueError: an unknown motion or expression, or two that do not go together; fewer than two frames; a negative
            amplitude.
    """
    check_value("motion", motion)
    check_value("expression", expression)
    check_motion(motion, expression)
    if num_frames < 2:
        raise ValueError(f"num_frames is {num_frames}; it must be at least 2")
    if not amplitude >= 0:
        raise ValueError(f"amplitude is {amplitude}; it must be at least 0")
    times_F = np.linspace(0, 1, num_frames)
    pose_F3 = rng.uniform(-1, 1, 3) * START_RANGE + np.stack([_sway(times_F, 0.012, rng) for _ in range(3)], axis=1)
    face_F6 = np.tile(_base_expression(expression, rng), (num_frames, 1))
    face_F6[:, _GAZE_X] += _sway(times_F, 0.05, rng)
    face_F6[:, _GAZE_Y] += _sway(times_F, 0.04, rng)
    _MOTIONS[motion](pose_F3, face_F6, rng)

    pose_F3 = pose_F3[0] + amplitude * (pose_F3 - pose_F3[0])
    face_F6 = face_F6[0] + amplitude * (face_F6 - face_F6[0])
    return Motion(pose_F3.astype(np.float32), np.clip(face_F6, LOWEST, HIGHEST).astype(np.float32))


def reference_pose(rng: Rng) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a reference photo shows: pose [3] and a mild expression [6], eyes open."""
    pose = rng.uniform(-1, 1, 3) * REFERENCE_RANGE
    face = np.zeros(len(EXPRESSION))
    face[_SMILE] = rng.choice([0.0, rng.uniform(0.1, 0.6), rng.uniform(-0.3, 0)], p=(0.4, 0.4, 0.2))
    face[_MOUTH] = rng.choice([0.0, rng.uniform(0, 0.2)])
    face[_BROWS] = rng.choice([0.0, rng.uniform(-0.3, 0.4)])
    face[[_GAZE_X, _GAZE_Y]] = rng.uniform(-1, 1, 2) * (0.25, 0.15)
    return pose.astype(np.float32), face.astype(np.float32)


def _base_expression(expression: str, rng: Rng) -> Floats:
    face = np.zeros(len(EXPRESSION))
    if expression == "smiling":
        face[_SMILE] = rng.uniform(0.8, 1)
    elif expression == "surprised":
        face[_BROWS], face[_MOUTH] = rng.uniform(0.8, 1), rng.uniform(0.35, 0.6)
    elif expression == "frowning":
        face[_BROWS], face[_SMILE] = -rng.uniform(0.8, 1), -rng.uniform(0.5, 0.8)
    face[[_GAZE_X, _GAZE_Y]] = rng.uniform(-0.1, 0.1, 2)
    return face


def _sway(times: Floats, most: float, rng: Rng) -> Floats:
    """A slow idle wander that starts at 0 and never goes further than 2 * `most`."""
    weights = rng.dirichlet((1, 1)) * rng.uniform(0.3, 1) * most
    cycles, phases = rng.uniform((0.3, 0.9), (0.8, 1.8)), rng.uniform(0, 2 * np.pi, 2)
    waves = np.sin(2 * np.pi * cycles * times[:, None] + phases) - np.sin(phases)
    return waves @ weights


def _path(keys: Sequence[float] | Floats, values: Sequence[float], times: Floats) -> Floats:
    """Values at `times`: those of the keys, eased in between (smoothstep), constant outside."""
    keys_K, values_K = np.asarray(keys, float), np.asarray(values, float)
    before = np.clip(np.searchsorted(keys_K, times, side="right") - 1, 0, len(keys_K) - 2)
    span = np.maximum(keys_K[before + 1] - keys_K[before], 1e-9)
    along = np.clip((times - keys_K[before]) / span, 0, 1)
    eased = along * along * (3 - 2 * along)
    return values_K[before] + eased * (values_K[before + 1] - values_K[before])


def _on_frames(keys: Sequence[float], num_frames: int) -> Floats:
    """Key times moved to near frames, each to one of its own; as they are where there are fewer frames than keys."""
    if len(keys) > num_frames:
        return np.asarray(keys, float)
    last, order = num_frames - 1, np.arange(len(keys))
    places = np.maximum.accumulate(np.round(np.asarray(keys) * last) - order) + order
    return np.minimum(places, last - order[::-1]) / last


def _times(pose_F3: Floats) -> Floats:
    return np.linspace(0, 1, len(pose_F3))


def _keyed(pose_F3: Floats, keys: Sequence[float], values: Sequence[float]) -> Callable[[Floats], Floats]:
    """The path through keys on frames, as a function of time."""
    placed = _on_frames(keys, len(pose_F3))
    return lambda times: _path(placed, values, times)


def _turn_yaw(pose_F3: Floats, face_F6: Floats, keys: Sequence[float], values: Sequence[float], rng: Rng) -> None:
    """Puts a path in place of the yaw and lets the eyes go ahead of it."""
    times, yaw_at = _times(pose_F3), _keyed(pose_F3, keys, values)
    pose_F3[:, _YAW] += yaw_at(times) - pose_F3[0, _YAW]
    moments = np.concatenate([times, np.linspace(0, 1, 49)])
    ahead = yaw_at(moments + _GAZE_LEAD) - yaw_at(moments)
    face_F6[:, _GAZE_X] += rng.uniform(0.35, 0.7) * ahead[: len(times)] / np.abs(ahead).max()


def _turn(side: int) -> Callable[[Floats, Floats, Rng], None]:
    def move(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
        start, end = -side * rng.uniform(0, 0.18), side * rng.uniform(0.5, 0.7)
        begin, stop = rng.uniform(0, 0.15), rng.uniform(0.8, 1)
        _turn_yaw(pose_F3, face_F6, (begin, stop), (start, end), rng)
        dip = rng.uniform(-0.04, 0.02)
        pose_F3[:, _PITCH] += _path((begin, (begin + stop) / 2, stop), (0, dip, 0), _times(pose_F3))

    return move


def _look_around(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    side = rng.choice((-1, 1))
    first, second = rng.uniform(0.36, 0.5, 2)
    keys = (rng.uniform(0, 0.08), rng.uniform(0.34, 0.45), rng.uniform(0.9, 1))
    values = (rng.uniform(-0.1, 0.1), side * first, -side * second)
    _turn_yaw(pose_F3, face_F6, keys, values, rng)


def _nod(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    twice = rng.random() < 0.5 and len(pose_F3) >= 17
    depths = rng.uniform(0.3, 0.42, 2) * (1, 0.95)
    rebound = rng.uniform(-0.02, 0.05, 2)
    begin = rng.uniform(0, 0.2)
    if twice:
        steps = begin / 2 + np.cumsum([0, *rng.uniform(0.18, 0.23, 4)])
        values = (0, -depths[0], rebound[0], -depths[1], rebound[1])
    else:
        steps = begin / 2 + np.cumsum([0, *rng.uniform(0.36, 0.45, 2)])
        values = (0, -depths[0], rebound[0])
    down = _keyed(pose_F3, [float(step) for step in steps], values)(_times(pose_F3))
    pose_F3[:, _PITCH] += down
    face_F6[:, _GAZE_Y] -= 0.6 * down  # the eyes stay on the camera


def _tilt(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    end = rng.choice((-1, 1)) * rng.uniform(0.28, 0.42)
    begin, stop = rng.uniform(0, 0.15), rng.uniform(0.75, 1)
    pose_F3[:, _ROLL] += _keyed(pose_F3, (begin, stop), (0, end - pose_F3[0, _ROLL]))(_times(pose_F3))


def _smile(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    begin, stop = rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.85)
    rise = _keyed(pose_F3, (begin, stop), (0, 1))(_times(pose_F3))
    face_F6[:, _SMILE] += rise * rng.uniform(0.85, 1)
    face_F6[:, _BROWS] += rise * rng.uniform(0, 0.25)
    face_F6[:, _MOUTH] += rise * rng.choice([0.0, rng.uniform(0.05, 0.2)])


def _talk(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    steps = len(pose_F3) - 1
    openings = min(int(rng.integers(3, 6)), max(steps // 4, 2), max(steps // 2, 1))
    spans = rng.uniform(0.7, 1.3, 2 * openings)
    ends = np.cumsum([0, *spans]) / spans.sum()
    shut, wide = rng.uniform(0, 0.12, openings + 1), rng.uniform(0.5, 0.9, openings)
    values = np.zeros(2 * openings + 1)
    values[::2], values[1::2] = shut, wide
    times = _times(pose_F3)
    face_F6[:, _MOUTH] = _keyed(pose_F3, [float(end) for end in ends], [float(value) for value in values])(times)
    face_F6[:, _BROWS] += _sway(times, 0.1, rng)
    for axis, most in ((_YAW, 0.025), (_PITCH, 0.025), (_ROLL, 0.015)):
        pose_F3[:, axis] += _sway(times, most, rng)


def _blink(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    frames = len(pose_F3)
    centres = [rng.uniform(0.15, 0.85)] if rng.random() < 0.5 else [rng.uniform(0.1, 0.35), rng.uniform(0.6, 0.85)]
    closing, shut, opening = rng.uniform((0.05, 0.0, 0.06), (0.09, 0.05, 0.12))
    times = _times(pose_F3)
    for centre in centres:
        # On a frame that is neither the first nor the last, or the eyes would not be seen to shut and open.
        place = np.clip(np.round(centre * (frames - 1)), min(1, frames - 1), max(frames - 2, 1)) / (frames - 1)
        keys = (place - shut / 2 - closing, place - shut / 2, place + shut / 2 + 1e-6, place + shut / 2 + opening)
        once = _path((max(keys[0], 0), *keys[1:]), (0, 1, 1, 0), times)
        face_F6[:, _BLINK] = np.maximum(face_F6[:, _BLINK], once)


def _still(pose_F3: Floats, face_F6: Floats, rng: Rng) -> None:
    """Nothing but the sway that every clip has."""


_MOTIONS: Mapping[str, Callable[[Floats, Floats, Rng], None]] = {
    "turn_left": _turn(-1),
    "turn_right": _turn(1),
    "nod": _nod,
    "tilt": _tilt,
    "look_around": _look_around,
    "smile": _smile,
    "talk": _talk,
    "blink": _blink,
    "still": _still,
}
