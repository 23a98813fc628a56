from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.faces import CROP_SCALE, face_crops, face_of_picture, faces_of_clip
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from tests.evaluation.stand_ins import RED, PatchDetector, patch_picture


@dataclass
class Scripted:
    """Stand-in: what it finds in frame n, which is painted n, strictly and leniently."""

    strict: list[list[FaceBox]]
    lenient: list[list[FaceBox]] = field(default_factory=list)
    name: str = "scripted"

    def detect(self, photo: NDArray[np.uint8], *, lenient: bool = False) -> list[FaceBox]:
        return (self.lenient if lenient else self.strict)[int(photo[0, 0, 0])]


def frames(count: int) -> NDArray[np.uint8]:
    return np.stack([np.full((50, 50, 3), index, np.uint8) for index in range(count)])


def box(left: float, size: float = 20) -> FaceBox:
    return FaceBox(left, 0, size, size, None)


def test_largest_first_then_the_one_that_stays() -> None:
    detector = Scripted([[box(0), box(100, 30)], [box(0, 60), box(102, 20)], [box(0)]])
    assert faces_of_clip(frames(3), detector) == (box(100, 30), box(102, 20), box(0))


def test_lenient_faces_count_where_a_sure_one_was() -> None:
    detector = Scripted([[], [box(0)], []], [[box(3), box(200, 50)], [], [box(200, 50)]])
    assert faces_of_clip(frames(3), detector) == (box(3), box(0), None)


def test_no_sure_face_is_no_face() -> None:
    assert faces_of_clip(frames(2), Scripted([[], []], [[box(0)], [box(0)]])) == (None, None)


def test_a_face_that_stands_still_is_found_in_every_frame() -> None:
    assert faces_of_clip(frames(3), Scripted([[box(5)]] * 3)) == (box(5),) * 3


def test_picture() -> None:
    assert face_of_picture(frames(1)[0], Scripted([[box(0), box(9, 30)]])) == box(9, 30)
    assert face_of_picture(frames(1)[0], Scripted([[]], [[box(2)]])) == box(2)
    assert face_of_picture(frames(1)[0], Scripted([[]], [[]])) is None


def test_crops() -> None:
    picture = patch_picture(RED)
    (found,) = PatchDetector().detect(picture)
    crops = face_crops([picture, picture], [found, None], 16)
    assert crops.shape == (1, 16, 16, 3)
    assert np.array_equal(crops[0], crop_head(picture, found, 16, scale=CROP_SCALE))
    assert face_crops([picture], [None], 16).shape == (0, 16, 16, 3)
