"""What the observer does with frames and boxes; how often it is right is measured in tests/training/avatar."""

import numpy as np
import pytest

from fantasyid_engine.evaluation.observer import CLIP, PICTURE, AvatarObserver
from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.pictures import Heads, heads


@pytest.fixture(scope="module")
def shown() -> Heads:
    return heads([World(seed=4, split="test", people=1, num_frames=9).sample(0).target])


def test_every_attribute_has_a_value_of_the_vocabulary(shown: Heads) -> None:
    read = AvatarObserver().attributes(shown.pictures, shown.boxes)
    assert read.keys() == set(PICTURE) | set(CLIP)
    assert all(value in VALUES[name] for name, value in read.items())


def test_without_heads_only_the_scene_is_read(shown: Heads) -> None:
    read = AvatarObserver().attributes(shown.pictures, [None] * 9)
    whole = AvatarObserver().attributes(shown.pictures, shown.boxes)
    assert read == {name: whole[name] for name in PICTURE}


def test_a_frame_without_a_head_takes_the_nearest_box(shown: Heads) -> None:
    gaps: list[FaceBox | None] = [*shown.boxes[:4], None, None, *shown.boxes[6:]]
    filled = [*shown.boxes[:4], shown.boxes[3], shown.boxes[6], *shown.boxes[6:]]
    observer = AvatarObserver()
    assert observer.attributes(shown.pictures, gaps) == observer.attributes(shown.pictures, filled)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_clips_of_any_length(shown: Heads, count: int) -> None:
    places = np.linspace(0, 8, count).round().astype(int)
    read = AvatarObserver().attributes(shown.pictures[places], [shown.boxes[place] for place in places])
    assert read.keys() == VALUES.keys()
