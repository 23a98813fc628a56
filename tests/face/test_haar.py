from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.face.detect import find_faces, pick_face
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.face.photo import read_photo
from tests.face.pictures import Picture, assert_refused, blocks, on, portrait
from tests.goldens import require_reference

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
    faces = find_faces(HaarDetector(), photo, "p.jpg").faces
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
    photo = portrait(64)
    found = find_faces(HaarDetector(), photo, "t.jpg")
    assert_refused("face_too_small", "t.jpg", lambda: pick_face(found, None, photo, "t.jpg"), "under 48")


def test_one_detector_in_many_threads() -> None:
    detector = HaarDetector()
    photos = [portrait(240 + 20 * i) for i in range(4)]
    alone = [detector.detect(photo, lenient=True) for photo in photos]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda photo: detector.detect(photo, lenient=True), photos * 4))
    assert together == alone * 4
    assert all(alone)


@pytest.mark.reference_data
def test_newton() -> None:
    photo = read_photo(require_reference() / "faces" / "newton.jpg")
    faces = find_faces(HaarDetector(), photo, "newton.jpg").faces
    assert [(round(f.left), round(f.top), round(f.width)) for f in faces] == [(452, 147, 272)]
