"""The networks that ship, on people and pictures that nothing was trained on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from fantasyid_engine.evaluation.recogniser import AvatarRecogniser
from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.face.avatar import AvatarDetector
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.measure import (
    area_under_curve,
    attribute_accuracy,
    false_alarms,
    found_share,
    verification,
)
from fantasyid_engine.training.avatar.perception.pictures import Pictures, views, without_faces
from tests.goldens import require_reference

SIZE = 96
PHOTOGRAPHS = (
    *(
        "astronaut",
        "camera",
        "chelsea",
        "coffee",
        "rocket",
        "stereo_motorcycle",
        "brick",
        "grass",
        "gravel",
        "coins",
        "moon",
    ),
    *("page", "text", "retina", "immunohistochemistry", "hubble_deep_field", "clock", "horse"),
)


def world(people: int, seed: int = 0) -> World:
    return World(seed=seed, split="test", people=people)


def test_recogniser_tells_people_apart() -> None:
    found = verification(world(64), views=8)
    assert found.auc >= 0.99
    assert found.rank_1 >= 0.95


def test_a_plain_picture_shows_nobody() -> None:
    photo = np.full((40, 50, 3), 90, np.uint8)
    box = AvatarDetector().detect(photo)
    assert box == []
    assert AvatarRecogniser().embed([], []).shape == (0, 128)


def test_observer_reads_attributes() -> None:
    accuracy = attribute_accuracy(world(100), samples=100)
    assert accuracy.keys() == VALUES.keys()
    assert min(accuracy.values()) >= 0.95, accuracy


def test_observer_reads_small_short_clips() -> None:
    """What the CPU-sized miniature makes: 9 frames of 64 x 64."""
    nine = World(seed=3, split="test", people=40, num_frames=9)
    accuracy = attribute_accuracy(nine, samples=40, size=64)
    assert np.mean(list(accuracy.values())) >= 0.95, accuracy


@pytest.mark.parametrize("size", [SIZE, 64, 160])
def test_detector_finds_people(size: int) -> None:
    rng = np.random.default_rng(0)
    takes = [take for index in range(100) for take in views(world(100).sample(index), rng)]
    assert found_share(takes, size) >= 0.99


def photographs(crops: int) -> Pictures:
    """Parts of real photographs, one of them of a person."""
    rng = np.random.default_rng(0)
    made = []
    for name in PHOTOGRAPHS:
        picture = getattr(data, name)()
        picture = picture[0] if isinstance(picture, tuple) else picture
        picture = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        made += parts(np.asarray(Image.fromarray(picture).convert("RGB")), crops, rng)
    return np.stack(made)


def parts(picture: Pictures, count: int, rng: np.random.Generator) -> list[Pictures]:
    """The middle square, then squares anywhere."""
    image, made = Image.fromarray(picture), []
    for number in range(count):
        side = min(image.size) * (1.0 if number == 0 else rng.uniform(0.3, 1.0))
        left, top = (rng.uniform(0, length - side) for length in image.size)
        made.append(np.array(image.resize((SIZE, SIZE), Image.Resampling.BOX, (left, top, left + side, top + side))))
    return made


def test_detector_has_few_false_alarms() -> None:
    drawn, photos = without_faces(340, seed=12345), photographs(9)
    nobody = np.concatenate([drawn, photos])
    assert len(nobody) >= 500
    assert false_alarms(nobody) <= 0.01


@pytest.mark.reference_data
def test_detector_sees_no_avatar_in_a_real_portrait() -> None:
    path = require_reference() / "faces" / "newton.jpg"
    picture = np.asarray(Image.open(Path(path)).convert("RGB"))
    assert false_alarms(np.stack(parts(picture, 60, np.random.default_rng(1)))) <= 0.01


@pytest.mark.parametrize(
    ("scores", "positive", "area"),
    [
        ([0.9, 0.8, 0.1], [True, True, False], 1.0),
        ([0.1, 0.8, 0.9], [True, False, False], 0.0),
        ([0.5, 0.5, 0.5], [True, False, False], 0.5),
        ([0.3, 0.6, 0.4, 0.6], [True, True, False, False], 0.375),
    ],
)
def test_area_under_curve(scores: list[float], positive: list[bool], area: float) -> None:
    assert area_under_curve(np.array(scores), np.array(positive)) == area
