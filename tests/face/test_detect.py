import numpy as np
import pytest

from fantasyid_engine.face.border import BORDER_RGB
from fantasyid_engine.face.detect import FaceBox, FaceDetector, Sighting, find_faces, pick_face
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.request import Choice
from tests.face.pictures import Picture, assert_refused


class FakeDetector:
    """Stands in for a detector: finds what `answers` holds for each call in turn, and keeps what it was shown."""

    name = "fake"

    def __init__(self, *answers: list[FaceBox]) -> None:
        self.answers = list(answers)
        self.shown: list[tuple[Picture, bool]] = []

    def detect(self, photo: Picture, *, lenient: bool = False) -> list[FaceBox]:
        self.shown.append((photo, lenient))
        return self.answers.pop(0) if self.answers else []


def box(left: float, top: float, size: float) -> FaceBox:
    return FaceBox(left, top, size, size, None)


def test_detectors_are_detectors() -> None:
    detectors: list[FaceDetector] = [HaarDetector(), FakeDetector()]
    assert [detector.name for detector in detectors] == ["haar", "fake"]


@pytest.mark.parametrize(
    ("shape", "sizes"),
    [
        pytest.param((300, 400), [(300, 400), (500, 600), (1000, 1200)], id="small-is-enlarged-last"),
        pytest.param((768, 1024), [(768, 1024), (1280, 1536), (1280, 1536)], id="exact"),
        pytest.param((4096, 2048), [(1024, 512), (1536, 1024), (1536, 1024)], id="large-is-reduced"),
        pytest.param((16, 4000), [(4, 1024), (516, 1536), (516, 1536)], id="very-wide"),
        pytest.param((5000, 1), [(1024, 1), (1536, 513), (1536, 513)], id="a-line"),
    ],
)
def test_rungs_of_the_ladder(shape: tuple[int, int], sizes: list[tuple[int, int]]) -> None:
    fake = FakeDetector()
    assert_refused("face_not_found", "p.jpg", lambda: find_faces(fake, np.zeros((*shape, 3), np.uint8), "p.jpg"))
    assert [picture.shape[:2] for picture, _ in fake.shown] == sizes
    assert [lenient for _, lenient in fake.shown] == [False, False, True]
    assert all(tuple(picture[0, 0]) == BORDER_RGB for picture, _ in fake.shown[1:])


def test_message_says_what_was_tried() -> None:
    photo = np.zeros((2000, 1000, 3), np.uint8)
    tried = "(fake; tried 1024, 1024 padded, 1024 with smaller windows); use a photo that shows one face"
    assert_refused("face_not_found", "a\\nb", lambda: find_faces(FakeDetector(), photo, "a\nb"), tried)


@pytest.mark.parametrize("rung", [0, 1, 2])
def test_boxes_are_in_pixels_of_the_photo(rung: int) -> None:
    """The fake finds a marked square, wherever the ladder has put it."""
    photo = np.zeros((1500, 2048, 3), np.uint8)
    photo[400:800, 600:1000] = 255

    class Marked(FakeDetector):
        def detect(self, photo: Picture, *, lenient: bool = False) -> list[FaceBox]:
            self.shown.append((photo, lenient))
            if len(self.shown) <= rung:
                return []
            y, x = np.nonzero(photo[..., 0] > 200)
            left, top = float(x.min()), float(y.min())
            return [FaceBox(left, top, float(np.ptp(x) + 1), float(np.ptp(y) + 1), 0.5, ((left, top),) * 5)]

    (face,) = find_faces(Marked(), photo, "p.jpg").faces
    assert np.allclose((face.left, face.top, face.width, face.height), (600, 400, 400, 400), atol=2.1)
    assert face.confidence == 0.5
    assert face.landmarks == ((face.left, face.top),) * 5


def test_first_rung_that_finds_wins_and_the_largest_is_first() -> None:
    fake = FakeDetector([], [box(200, 200, 50), box(300, 160, 90), box(150, 150, 70)], [box(0, 0, 500)])
    found = find_faces(fake, np.zeros((400, 400, 3), np.uint8), "p.jpg")
    faces = found.faces
    assert (found.detector, found.rung) == ("fake", "400 padded")
    assert [face.width for face in faces] == [90, 70, 50]
    assert (faces[0].left, faces[0].top) == (200, 60)
    assert len(fake.shown) == 2


def test_box_may_reach_outside() -> None:
    (face,) = find_faces(FakeDetector([], [box(50, 60, 100)]), np.zeros((400, 400, 3), np.uint8), "p.jpg").faces
    assert (face.left, face.top) == (-50, -40)


PHOTO = np.zeros((200, 300, 3), np.uint8)


def pick(faces: list[FaceBox], choice: Choice) -> FaceBox:
    return pick_face(Sighting(faces, "fake", "300"), choice, PHOTO, "p\n.jpg")


@pytest.mark.parametrize("choice", [None, "largest", 1, 2, 3])
def test_pick(choice: Choice) -> None:
    faces = [box(0, 0, 90), box(5, 5, 70), box(9, 9, 50)]
    assert pick(faces, choice) is faces[choice - 1 if isinstance(choice, int) else 0]


def test_pick_the_middle_one() -> None:
    """The release's choice: the nearest to the photo's middle, which is (150, 100); the first of two as near."""
    assert pick([box(0, 0, 90), box(120, 80, 50), box(100, 60, 50)], "center").left == 120
    assert pick([box(0, 0, 90), box(115, 75, 50), box(130, 75, 50)], "center").left == 130
    assert pick([box(100, 75, 50), box(150, 75, 50)], "center").left == 100


@pytest.mark.parametrize(
    ("count", "index", "says"),
    [
        pytest.param(3, 0, "choose 1 to 3", id="zero"),
        pytest.param(3, -1, "choose 1 to 3", id="negative"),
        pytest.param(3, 4, "shows 3", id="one-too-many"),
        pytest.param(1, 2, "choose 1 (", id="only-one"),
        pytest.param(2, 10**12, "choose 1 to 2", id="huge"),
    ],
)
def test_no_such_face(count: int, index: int, says: str) -> None:
    assert_refused("face_index", "p\\n.jpg", lambda: pick([box(0, 0, 90)] * count, index), says, f"face {index} ")


@pytest.mark.parametrize(("size", "shown"), [(47.9, "47 x 47"), (12, "12 x 12"), (0.4, "0 x 0")])
def test_too_small(size: float, shown: str) -> None:
    faces = [box(0, 0, 90), box(0, 0, size)]
    assert_refused("face_too_small", "p\\n.jpg", lambda: pick(faces, 2), f"face 2 in p\\n.jpg is {shown}")


def test_just_large_enough() -> None:
    assert pick([box(0, 0, 48)], None).width == 48
