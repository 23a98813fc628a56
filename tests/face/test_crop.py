import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.face.border import BORDER_RGB, with_border
from fantasyid_engine.face.crop import CENTRE, CROP_SIZE, SIDE, crop_face, square_crop
from fantasyid_engine.face.detect import FaceBox, find_faces
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.face.photo import read_photo
from tests.face.pictures import blocks, portrait
from tests.goldens import golden, require_reference

TEMPLATE_EYES = (193, 240), (319, 240)


def square_of(box: FaceBox) -> tuple[float, float, float]:
    """Left, top and side of what `crop_face` shows."""
    side = SIDE * box.width
    return box.left + CENTRE[0] * box.width - side / 2, box.top + CENTRE[1] * box.height - side / 2, side


def test_border_on_every_side() -> None:
    photo = blocks(16, 16)
    part = with_border(photo, -3, -4, 20, 21)
    assert part.shape == (25, 23, 3)
    assert (part[4:20, 3:19] == photo).all()
    part[4:20, 3:19] = BORDER_RGB
    assert (part == BORDER_RGB).all()


def test_border_beyond_the_photo() -> None:
    assert (with_border(blocks(16, 16), 20, 0, 24, 4) == BORDER_RGB).all()
    assert (with_border(blocks(16, 16), -9, -9, -1, -1) == BORDER_RGB).all()


def test_border_is_the_released_one() -> None:
    """(135, 133, 132) for blue, green, red."""
    assert BORDER_RGB == (132, 133, 135)


def test_crop_without_scaling_copies_pixels() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (700, 800, 3), dtype=np.uint8)
    size = CROP_SIZE / SIDE
    box = FaceBox(100 - CENTRE[0] * size + CROP_SIZE / 2, 90 - CENTRE[1] * size + CROP_SIZE / 2, size, size, None)
    assert (crop_face(photo, box) == photo[90:602, 100:612]).all()


def test_crop_is_lanczos_of_the_square_within_its_surroundings() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1400, 1500, 3), dtype=np.uint8)
    box = FaceBox(500.3, 480.7, 450.2, 450.2, None)
    left, top, side = square_of(box)
    image = Image.fromarray(photo)
    expected = image.resize((512, 512), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    assert np.abs(crop_face(photo, box).astype(int) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize(
    ("box", "corner"),
    [
        pytest.param(FaceBox(-40, 30, 100, 100, None), (0, 0), id="left"),
        pytest.param(FaceBox(80, 130, 100, 100, None), (511, 511), id="bottom-right"),
        pytest.param(FaceBox(-900, -900, 2000, 2000, None), (0, 511), id="larger-than-the-photo"),
    ],
)
def test_outside_of_the_photo_is_border(box: FaceBox, corner: tuple[int, int]) -> None:
    crop = crop_face(np.zeros((200, 150, 3), np.uint8), box)
    assert crop.shape == (512, 512, 3) and crop.dtype == np.uint8
    assert tuple(crop[corner]) == BORDER_RGB
    assert (crop == 0).any()


def test_drawn_face_lands_where_the_template_has_it() -> None:
    photo = portrait(600)
    (box,) = find_faces(HaarDetector(), photo, "portrait").faces
    left, top, side = square_of(box)
    for (x, y), expected in zip(((243, 280.5), (357, 280.5)), TEMPLATE_EYES, strict=True):
        assert np.hypot((x - left) * 512 / side - expected[0], (y - top) * 512 / side - expected[1]) < 25


@pytest.mark.reference_data
def test_newton_as_aligned_by_hand() -> None:
    """Five landmarks placed by hand against the box: scale to 2 %, centre to 12 of 512 pixels, tilt (6 degrees) not."""
    photo = read_photo(require_reference() / "faces" / "newton.jpg")
    matrix = golden("faces/alignment")["newton.hand.matrix"].numpy()  # of the photo at a long side of 1024
    reduced = np.array([int(n * 1024 / max(photo.shape)) / n for n in (photo.shape[1], photo.shape[0])])
    faces = find_faces(HaarDetector(), photo, "newton.jpg").faces
    assert len(faces) == 1
    left, top, side = square_of(faces[0])
    centre = np.linalg.solve(matrix[:, :2], 256 - matrix[:, 2]) / reduced
    offset = (centre - (left, top)) * 512 / side - 256
    scale = 512 / side / (np.hypot(matrix[0, 0], matrix[1, 0]) * reduced[0])
    assert np.hypot(*offset) < 12
    assert abs(scale - 1) < 0.02


@pytest.mark.parametrize("shape", [(90, 60), (60, 90), (61, 90), (90, 61)], ids=str)
def test_square_crop_is_the_middle(shape: tuple[int, int]) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = min(shape)
    y, x = (shape[0] - side) // 2, (shape[1] - side) // 2
    assert (square_crop(photo, side) == photo[y : y + side, x : x + side]).all()


@pytest.mark.parametrize("size", [1, 32, 64, 512])
def test_square_crop_of_a_square_is_lanczos(size: int) -> None:
    photo = blocks(64, 64)
    expected = Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS)
    crop = square_crop(photo, size)
    assert (crop == np.asarray(expected)).all()
    assert crop.flags.writeable and crop.flags.c_contiguous
