"""What the recogniser gives; how often it is right is measured in tests/training/avatar."""

import numpy as np
import pytest

from fantasyid_engine.evaluation.recogniser import SIDE, AvatarRecogniser
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.pictures import Heads, heads


@pytest.fixture(scope="module")
def shown() -> Heads:
    return heads([World(seed=4, split="test", people=2).sample(number).reference for number in range(2)])


def test_embeddings_have_unit_length_and_do_not_depend_on_the_batch(shown: Heads) -> None:
    together = AvatarRecogniser().embed(list(shown.pictures), shown.boxes)
    alone = [AvatarRecogniser().embed([p], [b])[0] for p, b in zip(shown.pictures, shown.boxes, strict=True)]
    assert together.shape == (2, 128) and together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    assert np.allclose(together, alone, atol=1e-4)


def test_no_pictures() -> None:
    assert AvatarRecogniser().embed([], []).shape == (0, 128)


def test_a_box_that_leaves_the_picture(shown: Heads) -> None:
    outside = FaceBox(-20, -10, 60, 90, None)
    assert np.isfinite(AvatarRecogniser().embed([shown.pictures[0]], [outside])).all()


def test_features_are_means_of_all_channels(shown: Heads) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (70, SIDE, SIDE, 3), dtype=np.uint8)  # more than a batch
    found = AvatarRecogniser().features(crops)
    assert found.shape == (70, 24 + 48 + 96 + 128) and found.dtype == np.float64
    assert np.allclose(found[65:], AvatarRecogniser().features(crops[65:]), atol=1e-4)
