"""The multi-view collection: of many pictures of a person, those from the most different sides.

    first    the most frontal one
    then     again and again the one whose nearest chosen picture is furthest (greedy farthest point)

The distance of two head poses is that of their angles (yaw, pitch, roll) in radians. That of the rotations is hardly
another where heads turn by less than a right angle, and this one can be read off a table of angles.
Source: FantasyID paper, section 3.2, which takes six and does not say how; Gonzalez 1985 (the greedy rule, which gives
at least half of the best smallest distance).

N pictures, M of them chosen, S side of a face crop.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.face.crop import CENTRE, CROP_SIZE, SIDE, crop_face
from fantasyid_engine.face.detect import MIN_FACE, FaceBox
from fantasyid_engine.face.pose import ADULT_FACE, FaceModel, pose_from_landmarks
from fantasyid_engine.training.data.crops import tower_picture
from fantasyid_engine.training.data.faces import FaceFinder, FoundFace
from fantasyid_engine.training.data.frames import Frames

VIEWS = 6
LEAST_CONFIDENCE = 0.9
"""Of a face that may be a reference; the paper's, of clips."""
ALIGNED = ((192.98, 239.95), (318.90, 240.19), (256.63, 314.02), (201.26, 371.41), (313.09, 371.15))
"""The five landmarks in an aligned face of 512 x 512 pixels, as FFHQ and the released pipeline have them."""


def farthest_views(poses_N3: NDArray[np.floating], count: int = VIEWS) -> list[int]:
    """Places of the chosen pictures, in the order of choice; of equals the first.

    Args:
        poses_N3: yaw, pitch and roll of each picture in radians.
        count: how many to choose; where there are fewer different poses, all of those.

    Raises:
        ValueError: no pictures, a count below 1, or angles that are no numbers.
    """
    poses = np.asarray(poses_N3, np.float64)
    if poses.ndim != 2 or poses.shape[1] != 3 or not len(poses) or count < 1 or not np.isfinite(poses).all():
        raise ValueError(
            f"farthest_views: poses of shape {poses.shape} and {count=}; takes finite [N, 3] and 1 or more"
        )
    chosen = [int(np.square(poses).sum(1).argmin())]
    nearest = np.full(len(poses), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, np.square(poses - poses[chosen[-1]]).sum(1))
        furthest = int(nearest.argmax())
        if nearest[furthest] == 0:
            break
        chosen.append(furthest)
    return chosen


@dataclass(frozen=True, slots=True, eq=False)
class Views:
    """The collection of a clip: `pictures` [M, 3, S, S] uint8, `poses` [M, 3] float32 as in `TrainingSample`."""

    pictures: Tensor
    poses: Tensor


def collect_views(
    frames: Frames, finder: FaceFinder, *, view_size: int, count: int = VIEWS, model: FaceModel = ADULT_FACE
) -> Views | None:
    """Of the largest face in each of some frames, those from the most different sides.

    Faces are cut out as the engine cuts those of photos. Passed over are those that it would refuse, unsure ones, and
    landmarks that are no face's.

    Args:
        frames: [N, H, W, 3] RGB, as large as there are.
        finder: with landmarks in the order of `model`.
        view_size: side of a crop as the tower takes it.
        count: how many; where there are fewer different ones, all of those.
        model: see `pose`.

    Returns:
        None where no frame has such a face.
    """
    found: list[tuple[Frames, FoundFace, NDArray[np.float64]]] = []
    for frame in frames:
        face = next(iter(finder.find(frame)), None)
        if face is None or face.confidence < LEAST_CONFIDENCE or min(face.box.width, face.box.height) < MIN_FACE:
            continue
        try:
            found.append((frame, face, pose_from_landmarks(face.landmarks, frame.shape[:2], model)))
        except ValueError:
            continue
    if not found:
        return None
    chosen = [found[place] for place in farthest_views(np.stack([pose for *_, pose in found]), count)]
    crops = [crop_face(frame, box_of_landmarks(face.landmarks)) for frame, face, _ in chosen]
    return Views(
        torch.stack([tower_picture(crop, view_size) for crop in crops]),
        torch.tensor(np.stack([pose for *_, pose in chosen]), dtype=torch.float32),
    )


def box_of_landmarks(landmarks_52: NDArray[np.floating]) -> FaceBox:
    """The box whose crop (`face.crop`) shows what the released pipeline shows of a face with these landmarks.

    That is the square that a similarity of the landmarks takes to the aligned face, but for its tilt. Detectors draw
    boxes each in its own way; `crop_face` is made for those of the engine's.
    """
    aligned, points = (np.asarray(some, np.float64) @ [1, 1j] for some in (ALIGNED, landmarks_52))
    around = aligned - aligned.mean()
    turn = np.vdot(around, points - points.mean()) / np.vdot(around, around)
    centre = points.mean() + turn * (CROP_SIZE * (0.5 + 0.5j) - aligned.mean())
    side = CROP_SIZE * float(abs(turn)) / SIDE
    return FaceBox(float(centre.real - CENTRE[0] * side), float(centre.imag - CENTRE[1] * side), side, side, None)
