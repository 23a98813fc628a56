import numpy as np
import pytest

from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.proof.sharpness import clip_sharpness


def test_of_a_slope_is_its_steepness() -> None:
    """3 levels a pixel to the right and 4 down are 5 along the slope."""
    rows, columns = np.mgrid[0:20, 0:20]
    frame = np.repeat((3 * columns + 4 * rows)[..., None], 3, axis=2).astype(np.uint8)
    assert clip_sharpness(frame[None], [FaceBox(2, 3, 10, 12, None)]) == pytest.approx(5)


def test_only_the_box_counts() -> None:
    frame = np.zeros((20, 20, 3), np.uint8)
    frame[:, 15:] = 255
    assert clip_sharpness(frame[None], [FaceBox(0, 0, 14, 20, None)]) == 0
    assert clip_sharpness(frame[None], [FaceBox(-9, -9, 40, 40, None)]) == pytest.approx(255 / 19)


def test_without_a_face_there_is_none() -> None:
    frames = np.zeros((2, 20, 20, 3), np.uint8)
    assert clip_sharpness(frames, [None, None]) is None
    assert clip_sharpness(frames, [None, FaceBox(30, 30, 5, 5, None)]) is None
