"""Head pose from landmarks: perspective-n-point, with what is known of how faces differ.

    minimise  sum_n |project(R (p_n + sum_k c_k b_kn) + t) - landmark_n|^2 / error^2  +  sum_k c_k^2     over R, t, c

p: points of the average face; b: its `spread`, how far one standard deviation moves each point. Without spread this is
plain PnP, to which a long nose looks like a head turned down. Errors in degrees, median / 95 % / largest, of 300 drawn
avatars that turn and make faces, with landmarks off the mesh and the avatars' camera; `all` is the angle between the
rotations:

    landmarks, points                  yaw              pitch             roll             all
    five, average                      1.9  8.3 16.3    5.9 15.6 34.1     0.4 2.1 4.0      7.5 16.2 34.1
    five, average with spread          0.4  1.4  2.2    0.9  3.4 24.8     0.0 0.1 0.3      1.1  3.5 24.8
    five, the person's own             0.5  2.6  5.5    0.7  6.4  9.8     0.1 0.6 1.6      1.0  6.6  9.9
    fifteen, average                   0.5  2.3  7.7    0.9  2.3  4.5     0.1 0.5 1.3      1.3  2.8  7.9
    fifteen, average with spread       0.3  0.6  1.0    0.2  0.6  1.0     0.0 0.1 0.3      0.4  0.8  1.0

With calm faces the third row is 0.4 / 0.6 / 0.7, the others are as they are. Avatars differ more than people do: their
noses have a deviation of 5.5 mm down and forward. The pitch that a nose adds is much the same in all pictures of its
owner, and `views`, which compares these with each other, hardly suffers.

N landmarks, K directions of spread. Points in metres: x to the picture's right, y up, z towards the viewer.
Source: OpenCV's `solvePnP` with SQPnP (Terzakis and Lourakis 2020) to begin with, Gauss-Newton from there.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LANDMARK_ERROR = 0.005
"""What found landmarks are off by, as a share of the diagonal of the box around them: a pixel in a face of 200."""
STEPS, SETTLED = 50, 1e-8
NEAREST = 1e-3
"""Metres from the camera, below which nothing is seen."""
FLAT = 1e-3
"""Second to first extent of points, up to which they are in one line."""
_FLIP = np.diag([1.0, -1.0, -1.0])  # OpenCV's y goes down, its z away


def _in_a_line(points: Floats) -> bool:
    """Also where they are in one place, or no numbers."""
    if points.ndim != 2 or not np.isfinite(points).all():
        return True
    first, second = np.linalg.svd(points - points.mean(0), compute_uv=False)[:2]
    return bool(second <= FLAT * first)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FaceModel:
    """Where landmarks are on a face that looks straight ahead.

    points  [N, 3] metres, from any origin
    spread  [K, N, 3] metres that one standard deviation of each way in which faces differ moves them

    Raises:
        ValueError: fewer than four points, all in one line, not finite, or spread of another shape.
    """

    points: Floats
    spread: Floats = field(default_factory=lambda: np.zeros((0, 1, 3)))

    def __post_init__(self) -> None:
        points, spread = self.points, self.spread
        if points.ndim != 2 or points.shape[1] != 3 or len(points) < 4 or _in_a_line(points):
            raise ValueError(f"FaceModel.points has shape {points.shape}; it must be finite [N, 3], 4 or more, no line")
        if spread.ndim != 3 or (len(spread) and spread.shape[1:] != points.shape) or not np.isfinite(spread).all():
            raise ValueError(f"FaceModel.spread has shape {spread.shape}; it must be finite [K, {len(points)}, 3]")


ADULT_FACE = FaceModel(
    points=np.array([(-31.5, 0.0, 0.0), (31.5, 0.0, 0.0), (0.0, -37.0, 30.0), (-28.0, -65.6, 0.0), (28.0, -65.6, 0.0)])
    / 1000
)
"""Five landmarks of people: left eye, right eye (of the picture), tip of the nose, left and right corner of the mouth.

Pupils are 63 mm apart, the mean of adults (Dodgson 2004). Across and down, the rest is the template that FFHQ and the
released pipeline align faces to, at that scale. How far the nose stands out no such template tells: the averages that
head trackers use (Wikipedia, "Human head") have its tip 41 mm before the outer corners of the eyes, and pupils are
taken to be 11 mm before these. Mouth corners are put in the plane of the pupils; some millimetres either way would move
the pitch that counts as zero, for everybody alike.
"""


def pose_from_landmarks(
    landmarks_N2: NDArray[np.floating],
    picture_size: tuple[int, int],
    model: FaceModel = ADULT_FACE,
    *,
    focal: float | None = None,
    error: float = LANDMARK_ERROR,
) -> Floats:
    """Landmarks in a picture -> yaw, pitch, roll [3] in radians.

    Positive, as seen in the picture: the face turns to the right, looks up, leans clockwise; it rolls first, then
    pitches, then yaws.

    Args:
        landmarks_N2: pixels (x, y), x to the right and y down, in the order of `model.points`.
        picture_size: height and width; the camera looks at the middle.
        model: the face.
        focal: of the camera, in pixels; by default the picture's longer side, which is a view of 53 degrees.
        error: of the landmarks, as a share of the diagonal of the box around them; it counts against spread.

    Raises:
        ValueError: landmarks that are not [N, 2], not finite, all in one line, or cannot be such a face; a picture,
            a focal length or an error of no size.
    """
    import cv2

    landmarks = np.asarray(landmarks_N2, np.float64)
    if landmarks.shape != (len(model.points), 2) or _in_a_line(landmarks):
        raise ValueError(
            f"landmarks of shape {landmarks.shape}; takes finite [{len(model.points)}, 2], not all in one line"
        )
    height, width = picture_size
    focal = float(max(picture_size)) if focal is None else focal
    if not (height > 0 and width > 0 and 0 < focal < np.inf and 0 < error < np.inf):
        raise ValueError(f"{picture_size=}, {focal=} and {error=}; all must be above 0")
    seen_N2 = (landmarks - (width / 2, height / 2)) / focal
    points_N3, spread_KN3 = model.points @ _FLIP, model.spread @ _FLIP
    try:
        _, turn, moved = cv2.solvePnP(points_N3, seen_N2, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
        start = np.asarray(cv2.Rodrigues(turn)[0], np.float64), np.asarray(moved, np.float64)[:, 0]
    except cv2.error:  # far too large or small, or no answer
        raise ValueError("landmarks of no face") from None
    weight = 1 / (error * float(np.linalg.norm(np.ptp(seen_N2, axis=0))))
    rotation = _FLIP @ _fitted(*start, seen_N2, points_N3, spread_KN3, weight) @ _FLIP
    if not rotation[2, 2] > 0:
        raise ValueError("landmarks of a face that is turned away; are they in the model's order?")
    return angles(rotation)


def angles(rotation: Floats) -> Floats:
    """[3, 3] -> yaw, pitch, roll [3] in radians: `yaw @ pitch @ roll`."""
    yaw, roll = np.arctan2(rotation[0, 2], rotation[2, 2]), np.arctan2(-rotation[1, 0], rotation[1, 1])
    return np.array([yaw, np.arcsin(np.clip(rotation[1, 2], -1, 1)), roll])


def _fitted(
    rotation: Floats, moved: Floats, seen_N2: Floats, points_N3: Floats, spread_KN3: Floats, weight: float
) -> Floats:
    """The rotation after Gauss-Newton steps on rotation, translation and amounts of spread, in OpenCV's axes.

    Raises:
        ValueError: part of the face comes to lie behind the camera.
    """
    import cv2

    count, ways = len(points_N3), len(spread_KN3)
    spread_KN3 = np.broadcast_to(spread_KN3, (ways, count, 3))
    amount_K = np.zeros(ways)
    prior = np.hstack([np.zeros((ways, 6)), np.eye(ways)])
    for _ in range(STEPS):
        turned_N3 = (points_N3 + np.tensordot(amount_K, spread_KN3, axes=1)) @ rotation.T
        x, y, z = (turned_N3 + moved).T
        if not z.min() > NEAREST:
            raise ValueError("landmarks of no face")
        off_N2 = np.stack([x, y], axis=1) / z[:, None] - seen_N2
        to_picture_N23 = np.stack([np.stack([1 / z, 0 * z, -x / z**2], 1), np.stack([0 * z, 1 / z, -y / z**2], 1)], 1)
        by_turn_N33 = np.cross(np.eye(3), turned_N3[:, None]).swapaxes(1, 2)
        by_move_N33 = np.broadcast_to(np.eye(3), (count, 3, 3))
        by_spread_N3K = np.moveaxis(spread_KN3 @ rotation.T, 0, 2)
        slopes = to_picture_N23 @ np.concatenate([by_turn_N33, by_move_N33, by_spread_N3K], axis=2)
        matrix = np.vstack([weight * slopes.reshape(2 * count, -1), prior])
        step = np.linalg.lstsq(matrix, -np.concatenate([weight * off_N2.ravel(), amount_K]))[0]
        rotation, moved = cv2.Rodrigues(step[:3])[0] @ rotation, moved + step[3:6]
        amount_K = amount_K + step[6:]
        if np.abs(step[:3]).max() < SETTLED:
            break
    return rotation
