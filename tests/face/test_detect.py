from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.face.border import BORDER_RGB
from fantasyid_engine.face.detect import FaceBox, FaceDetector, HaarDetector, find_faces, pick_face
from fantasyid_engine.face.photo import read_photo
from tests.face.pictures import Picture, assert_refused, blocks, on, portrait
from tests.goldens import require_reference


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
            return [FaceBox(float(x.min()), float(y.min()), float(np.ptp(x) + 1), float(np.ptp(y) + 1), 0.5)]

    (face,) = find_faces(Marked(), photo, "p.jpg")
    assert np.allclose((face.left, face.top, face.width, face.height), (600, 400, 400, 400), atol=2.1)
    assert face.confidence == 0.5


def test_first_rung_that_finds_wins_and_the_largest_is_first() -> None:
    fake = FakeDetector([], [box(200, 200, 50), box(300, 160, 90), box(150, 150, 70)], [box(0, 0, 500)])
    faces = find_faces(fake, np.zeros((400, 400, 3), np.uint8), "p.jpg")
    assert [face.width for face in faces] == [90, 70, 50]
    assert (faces[0].left, faces[0].top) == (200, 60)
    assert len(fake.shown) == 2


def test_box_may_reach_outside() -> None:
    (face,) = find_faces(FakeDetector([], [box(50, 60, 100)]), np.zeros((400, 400, 3), np.uint8), "p.jpg")
    assert (face.left, face.top) == (-50, -40)


TWO = on((600, 900), (portrait(300), 550, 50), (portrait(450), 20, 100))
TILTED = np.array(Image.fromarray(portrait()).rotate(12, fillcolor=(90, 90, 90)))


@pytest.mark.parametrize(
    ("photo", "expected"),
    [
        pytest.param(portrait(), [(82, 92, 242)], id="portrait"),
        pytest.param(portrait(1600), [(328, 368, 968)], id="large"),
        pytest.param(portrait(120), [(25, 28, 73)], id="small"),
        pytest.param(TWO, [(112, 203, 272), (612, 119, 181)], id="two"),
        pytest.param(portrait()[100:330, 90:], [(10, 10, 200)], id="cut-at-the-edge"),
        pytest.param((portrait() // 12).astype(np.uint8), [(82, 92, 242)], id="dark"),
        pytest.param(TILTED, [(78, 85, 242)], id="tilted"),
    ],
)
def test_haar_finds_drawn_faces(photo: Picture, expected: list[tuple[float, float, float]]) -> None:
    faces = find_faces(HaarDetector(), photo, "p.jpg")
    assert len(faces) == len(expected)
    for face, (left, top, size) in zip(faces, expected, strict=True):
        assert np.allclose((face.left, face.top, face.width, face.height), (left, top, size, size), atol=0.1 * size)
        assert face.confidence is not None and face.confidence >= 2


@pytest.mark.parametrize(
    "photo",
    [
        pytest.param(np.zeros((300, 300, 3), np.uint8), id="black"),
        pytest.param(np.full((300, 300, 3), 255, np.uint8), id="white"),
        pytest.param(blocks(300, 400), id="blocks"),
        pytest.param(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8), id="noise"),
        pytest.param(np.rot90(portrait()).copy(), id="on-its-side"),
        pytest.param(blocks(16, 16), id="smallest"),
        pytest.param(blocks(16, 3000), id="strip"),
    ],
)
def test_haar_finds_no_face(photo: Picture) -> None:
    assert_refused("face_not_found", "wall.jpg", lambda: find_faces(HaarDetector(), photo, "wall.jpg"), "(haar; tried ")


@pytest.mark.parametrize(("size", "width"), [(70, 48), (80, 52), (100, 60)])
def test_smallest_windows_of_haar(size: int, width: float) -> None:
    (face,) = HaarDetector().detect(portrait(size))
    assert abs(face.width - width) <= 3


def test_leniently_a_face_needs_an_eye() -> None:
    blindfolded = portrait()
    blindfolded[160:205, 115:285] = 60
    assert HaarDetector().detect(blindfolded)
    assert not HaarDetector().detect(blindfolded, lenient=True)


def test_face_of_a_thumbnail_is_found_and_too_small() -> None:
    faces = find_faces(HaarDetector(), portrait(64), "t.jpg")
    assert_refused("face_too_small", "t.jpg", lambda: pick_face(faces, None, "t.jpg"), "under 48")


def test_one_detector_in_many_threads() -> None:
    detector = HaarDetector()
    photos = [portrait(240 + 20 * i) for i in range(4)]
    alone = [detector.detect(photo, lenient=True) for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda photo: detector.detect(photo, lenient=True), photos * 4))
    assert together == alone * 4
    assert all(alone)


@pytest.mark.parametrize("index", [None, 1, 2, 3])
def test_pick(index: int | None) -> None:
    faces = [box(0, 0, 90), box(5, 5, 70), box(9, 9, 50)]
    assert pick_face(faces, index, "p.jpg") is faces[(index or 1) - 1]


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
    faces = [box(0, 0, 90)] * count
    assert_refused("face_index", "p\\n.jpg", lambda: pick_face(faces, index, "p\n.jpg"), says, f"face {index} ")


@pytest.mark.parametrize(("size", "shown"), [(47.9, "47 x 47"), (12, "12 x 12"), (0.4, "0 x 0")])
def test_too_small(size: float, shown: str) -> None:
    faces = [box(0, 0, 90), box(0, 0, size)]
    assert_refused("face_too_small", "p.jpg", lambda: pick_face(faces, 2, "p.jpg"), f"face 2 in p.jpg is {shown}")


def test_just_large_enough() -> None:
    assert pick_face([box(0, 0, 48)], None, "p.jpg").width == 48


@pytest.mark.reference_data
def test_newton() -> None:
    photo = read_photo(require_reference() / "faces" / "newton.jpg")
    faces = find_faces(HaarDetector(), photo, "newton.jpg")
    assert [(round(f.left), round(f.top), round(f.width)) for f in faces] == [(452, 147, 272)]
