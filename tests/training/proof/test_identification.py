import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine.evaluation.instruments import avatar_instruments
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.proof.identification import clip_embedding, rank_1

PHOTOS = np.eye(3, dtype=np.float32)


def like(*weights: float) -> NDArray[np.float32]:
    return np.array(weights, np.float32)


def test_the_nearest_photo_must_be_the_clips_own() -> None:
    assert rank_1([like(0.9, 0.1, 0), like(0.6, 0.5, 0), like(0, 0, 0.1)], PHOTOS) == pytest.approx(2 / 3)


def test_a_clip_without_a_face_is_wrong() -> None:
    assert rank_1([None, like(0, 1, 0), None], PHOTOS) == pytest.approx(1 / 3)


def test_frames_without_a_face_do_not_count() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 48, 3), np.uint8)
    box, embedder = FaceBox(8, 8, 30, 30, None), avatar_instruments().embedder
    found = clip_embedding(frames, [box, None, box], embedder)
    one, other = embedder.embed([frames[0], frames[2]], [box, box])
    assert found is not None
    assert np.allclose(found, (one + other) / 2, atol=1e-6)
    assert clip_embedding(frames, [None] * 3, embedder) is None
