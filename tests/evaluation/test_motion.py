from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine.evaluation.motion import BORDER, MARGIN, SIDE, covering, face_motion
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox

BOX = FaceBox(70, 50, 100, 100, None)


def texture(seed: int = 0) -> NDArray[np.uint8]:
    """200 x 240, with edges everywhere."""
    noise = np.random.default_rng(seed).random((200, 240, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)


def moved(shift: float, frames: int = 4) -> NDArray[np.uint8]:
    """The texture, moved by `shift` pixels to the right a frame."""
    picture = texture()
    matrices = [np.array([[1, 0, shift * i], [0, 1, 0]], np.float32) for i in range(frames)]
    return np.stack([cv2.warpAffine(picture, m, (240, 200), borderMode=cv2.BORDER_REFLECT) for m in matrices])


def test_a_still_is_exactly_0() -> None:
    frames = np.repeat(texture()[None], 3, axis=0)
    assert face_motion(frames, [BOX] * 3) == (0.0, 0.0)


def test_nearly_a_still_is_nearly_0() -> None:
    """One value of one pixel far from the face: no flow comes from the edge of the square."""
    frames = np.repeat(texture()[None], 2, axis=0)
    frames[1, 40, 62] += 1
    (found,) = face_motion(frames, [BOX] * 2)
    assert found is not None and found < 1e-3


def test_grows_with_the_amplitude_and_has_its_unit() -> None:
    shifts = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0)
    means = [np.mean([m for m in face_motion(moved(shift), [BOX] * 4) if m is not None]) for shift in shifts]
    assert all(less < more for less, more in pairwise(means))
    pixels = np.array(shifts) * SIDE / (MARGIN * BOX.width)
    assert means == pytest.approx(pixels.tolist(), rel=0.02, abs=1e-9)


def test_only_the_face_counts() -> None:
    frames = np.repeat(texture()[None], 2, axis=0)
    frames[1, :, :40] = texture(1)[:, :40]
    assert face_motion(frames, [BOX] * 2) == (0.0,)


def test_against_a_plain_form() -> None:
    frames = moved(1.5, frames=2)
    boxes = [BOX, FaceBox(75, 55, 100, 100, None)]
    around = covering(boxes)
    greys = [cv2.cvtColor(crop_head(f, around, SIDE, scale=MARGIN), cv2.COLOR_RGB2GRAY) for f in frames]
    wide = [np.pad(grey, BORDER, mode="reflect") for grey in greys]
    flow = cv2.calcOpticalFlowFarneback(wide[0], wide[1], None, 0.5, 3, 15, 3, 5, 1.2, 0)  # pyright: ignore
    side = MARGIN * 105
    total, count = 0.0, 0
    for row in range(SIDE):
        for column in range(SIDE):  # (122.5, 102.5) is the middle of both boxes
            x = 122.5 + ((column + 0.5) / SIDE - 0.5) * side
            y = 102.5 + ((row + 0.5) / SIDE - 0.5) * side
            if any(b.left <= x < b.left + 100 and b.top <= y < b.top + 100 for b in boxes):
                dx, dy = flow[row + BORDER, column + BORDER]
                total, count = total + float(np.hypot(dx, dy)), count + 1
    (found,) = face_motion(frames, boxes)
    assert found == pytest.approx(total / count, rel=0.02)


def test_pairs_without_faces_count_nowhere() -> None:
    frames = moved(1, frames=5)
    found = face_motion(frames, [BOX, None, BOX, BOX, None])
    assert [value is None for value in found] == [True, True, False, True]
    assert face_motion(frames, [None] * 5) == (None,) * 4
    assert face_motion(frames[:1], [BOX]) == ()


def test_a_box_outside_the_picture() -> None:
    box = FaceBox(-30, -20, 60, 60, None)
    assert face_motion(np.repeat(texture()[None], 2, axis=0), [box] * 2) == (0.0,)
    (found,) = face_motion(moved(1, frames=2), [box] * 2)
    assert found is not None and np.isfinite(found)


def test_covering() -> None:
    around = covering([FaceBox(1, 2, 3, 4, None), FaceBox(-1, 4, 2, 9, 0.5)])
    assert around == FaceBox(-1, 2, 5, 11, None)
