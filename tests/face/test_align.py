import hashlib
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray
from safetensors import safe_open

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.align import CROP_SIZE, LONG_SIDE, TEMPLATE, align_face, released_size, to_template
from fantasyid_engine.face.border import BORDER_RGB
from fantasyid_engine.face.photo import read_photo
from tests.face.pictures import Picture, assert_refused, blocks
from tests.face_goldens import picture
from tests.goldens import golden, require_reference

CASES = [f"{image}.{number}" for image in ("random", "newton") for number in range(6)] + ["newton.hand"]
ROWS = [0, 128, 256, 384, 511]
IDENTITY = np.eye(2, 3)


@cache
def facts() -> dict[str, str]:
    """What the goldens' file says of itself."""
    with safe_open(require_reference() / "goldens" / "faces" / "alignment.safetensors", "np") as file:
        return file.metadata()


@cache
def golden_photo(image: str) -> Picture:
    if image == "newton":
        return released_size(read_photo(require_reference() / "faces" / "newton.jpg"))
    return picture("input.alignment.image", 480, 640).numpy()[..., ::-1]


def digest(photo: Picture) -> str:
    """As the goldens have it, of blue, green, red."""
    return hashlib.sha256(photo[..., ::-1].tobytes()).hexdigest()[:16]


def noise(height: int, width: int) -> Picture:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def moved(points: NDArray, matrix: NDArray) -> NDArray:
    return points @ matrix[:, :2].T + matrix[:, 2]


def similarity(scale: float, turn: float, x: float, y: float) -> NDArray[np.float64]:
    a, b = scale * np.cos(turn), scale * np.sin(turn)
    return np.array([[a, -b, x], [b, a, y]])


def inverse(matrix: ArrayLike) -> NDArray[np.float64]:
    return np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]


def least_squares(points: NDArray, target: NDArray) -> NDArray[np.float64]:
    """The similarity nearest to all of the points, as a product of complex numbers."""
    p, t = points @ [1, 1j], target @ [1, 1j]
    turn = np.vdot(p - p.mean(), t - t.mean()) / np.vdot(p - p.mean(), p - p.mean())
    shift = t.mean() - turn * p.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


@pytest.mark.reference_data
@pytest.mark.parametrize("case", CASES)
def test_matrix_is_the_released_one(case: str) -> None:
    found = to_template(golden("faces/alignment")[f"{case}.landmarks"].numpy())
    expected = golden("faces/alignment")[f"{case}.matrix"].numpy()
    assert found.dtype == np.float64
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


@pytest.mark.reference_data
@pytest.mark.parametrize("case", CASES)
def test_crop_is_the_released_one(case: str) -> None:
    """Byte for byte."""
    crop = align_face(golden_photo(case.split(".")[0]), golden("faces/alignment")[f"{case}.landmarks"].numpy())
    assert np.array_equal(crop[ROWS][..., ::-1], golden("faces/alignment")[f"{case}.rows"].numpy())
    assert digest(crop) == facts()[f"{case}.sha256_16"]


@pytest.mark.reference_data
@pytest.mark.parametrize("number", [1, 3])
def test_plain_least_squares_shows(number: int) -> None:
    """One landmark in each of these sets is far off."""
    expected = golden("faces/alignment")
    points = expected[f"random.{number}.landmarks"].double().numpy()
    corners = moved(np.array([(0, 0), (512, 0), (0, 512), (512, 512)]), inverse(expected[f"random.{number}.matrix"]))
    plain = moved(corners, least_squares(points, np.array(TEMPLATE)))
    assert np.abs(plain - moved(corners, expected[f"random.{number}.matrix"].numpy())).max() > 3


@pytest.mark.reference_data
def test_pictures_of_the_goldens() -> None:
    assert digest(golden_photo("random")) == facts()["random.sha256_16"]
    newton = golden_photo("newton")
    assert newton.shape == (1024, 850, 3)
    assert newton.sum(dtype=np.int64) == int(facts()["newton.bgr_sum"]) == 151765827
    assert digest(newton) == facts()["newton.bgr_sha256_16"]


def test_landmarks_on_the_template_leave_the_photo() -> None:
    photo = noise(600, 700)
    assert to_template(TEMPLATE) == pytest.approx(IDENTITY, abs=1e-6)
    assert np.array_equal(align_face(photo, TEMPLATE), photo[:512, :512])
    assert np.array_equal(align_face(photo, moved(np.array(TEMPLATE), similarity(1, 0, 30, 50))), photo[50:562, 30:542])


PAIRS = [(0, 4), (0, 3), (1, 2), (1, 0), (3, 0), (0, 4), (1, 4), (3, 1), (0, 3), (0, 1), (0, 4), (4, 1), (0, 3)]
"""What OpenCV's generator draws, always."""


def least_median(points: NDArray, target: NDArray) -> tuple[NDArray[np.float64], int]:
    """The similarity by least median of squares, and how many of the points it is fitted to."""
    tries = []
    for pair in PAIRS:
        matrix = least_squares(points[list(pair)], target[list(pair)])
        errors = ((moved(points, matrix) - target) ** 2).sum(1).astype(np.float32)
        tries.append((np.median(errors), errors))
    median, errors = min(tries, key=lambda found: found[0])
    near = errors <= max(2.5 * 1.4826 * (1 + 5 / 3) * np.sqrt(median), 0.001) ** 2
    return least_squares(points[near], target[near]), int(near.sum())


@pytest.mark.parametrize("noise_pixels", [0.3, 3.0, 30.0])
def test_least_median_of_squares(noise_pixels: float) -> None:
    """Landmarks that are off by so much of the crop, of faces that are turned, moved and of other sizes."""
    rng, target, counts = np.random.default_rng(0), np.float64(np.float32(TEMPLATE)), set()
    for _ in range(40):
        off = rng.normal(0, noise_pixels, (5, 2))
        view = similarity(rng.uniform(0.2, 3), rng.uniform(-3, 3), *rng.uniform(-300, 300, 2))
        points = np.float32(moved(target + off, view))
        expected, count = least_median(np.float64(points), target)
        assert np.abs(to_template(points) - expected).max() <= 1e-9 * np.abs(expected).max()
        counts.add(count)
    assert 5 in counts and len(counts) > 1


@pytest.mark.parametrize("wrong", range(5))
def test_one_landmark_that_is_far_off_does_not_count(wrong: int) -> None:
    matrix = similarity(0.5, 0.4, 60, 20)
    points = moved(np.array(TEMPLATE), matrix)
    points[wrong] += (60, -45)
    assert to_template(points) == pytest.approx(inverse(matrix), rel=1e-4, abs=1e-3)


def warped(photo: Picture, matrix: NDArray) -> Picture:
    """The crop in whole numbers: 32 places between two pixels, weights that sum to 2^15."""
    (a, b, x0), (c, d, y0) = matrix
    scale = 1 / (a * d - b * c)
    i00, i01, i10, i11 = d * scale, -b * scale, -c * scale, a * scale
    i02, i12 = -i00 * x0 - i01 * y0, -i10 * x0 - i11 * y0
    at = np.arange(CROP_SIZE)
    x = np.rint((i01 * at + i02) * 1024)[:, None] + 16 + np.rint(i00 * at * 1024)
    y = np.rint((i11 * at + i12) * 1024)[:, None] + 16 + np.rint(i10 * at * 1024)
    x, y = x.astype(np.int64) >> 5, y.astype(np.int64) >> 5
    total = np.full((CROP_SIZE, CROP_SIZE, 3), 1 << 14, np.int64)
    for down in (0, 1):
        for right in (0, 1):
            column, row = (x >> 5) + right, (y >> 5) + down
            inside = (column >= 0) & (column < photo.shape[1]) & (row >= 0) & (row < photo.shape[0])
            value = np.where(inside[..., None], photo[row * inside, column * inside], BORDER_RGB)
            weight = 32 * (x & 31 if right else 32 - (x & 31)) * (y & 31 if down else 32 - (y & 31))
            total += weight[..., None] * value
    return (total >> 15).astype(np.uint8)


@pytest.mark.parametrize(
    "matrix",
    [
        pytest.param(similarity(1.7, 0.3, 40, -90), id="enlarged"),
        pytest.param(similarity(0.6, -2.5, 500, 300), id="reduced-and-turned"),
        pytest.param(similarity(9.0, 0.01, -4000, -3000), id="far-enlarged"),
    ],
)
def test_crop_in_whole_numbers(matrix: NDArray) -> None:
    photo = noise(300, 400)
    points = moved(np.array(TEMPLATE), inverse(matrix))
    assert np.array_equal(align_face(photo, points), warped(photo, to_template(points)))


def test_outside_is_border() -> None:
    crop = align_face(np.zeros((60, 80, 3), np.uint8), np.array(TEMPLATE) - 5000)
    assert crop.shape == (512, 512, 3) and crop.dtype == np.uint8
    assert (crop == BORDER_RGB).all()


def test_views_are_photos_too() -> None:
    view = noise(600, 1400)[::-1, ::2]
    view.flags.writeable = False
    assert np.array_equal(align_face(view, TEMPLATE), view[:512, :512])
    tall = noise(3000, 60)[::-1, ::2]
    assert np.array_equal(released_size(tall), released_size(tall.copy()))


BAD = [
    pytest.param(np.full((5, 2), 100.0), id="in-one-place"),
    pytest.param(np.where(np.eye(5, 2) > 0, np.nan, TEMPLATE), id="not-a-number"),
    pytest.param(np.where(np.eye(5, 2) > 0, np.inf, TEMPLATE), id="infinite"),
    pytest.param(np.array(TEMPLATE) * 1e38, id="beyond-float32"),
]


@pytest.mark.parametrize("landmarks", BAD)
def test_landmarks_that_are_none(landmarks: NDArray) -> None:
    photo, advice = blocks(), "use a photo that shows the face larger"
    assert_refused("face_unaligned", "a\\nb.jpg", lambda: align_face(photo, landmarks, "a\nb.jpg"), advice)
    assert_refused("face_unaligned", "the photo", lambda: to_template(landmarks))


def test_other_than_five_landmarks() -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 2\); takes \[5, 2\]"):
        to_template(TEMPLATE[:4])


@settings(max_examples=100, deadline=None)
@given(arrays(np.float32, (5, 2), elements=st.one_of(st.sampled_from([0.0, 1.0, 7.0]), st.floats(width=32))))
def test_any_numbers_are_aligned_or_refused(landmarks: NDArray) -> None:
    try:
        found = to_template(landmarks)
    except InputError:
        return
    assert np.isfinite(found).all() and found[:, 0].any()


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        pytest.param((1025, 500), (1024, 499), id="rounded-down"),
        pytest.param((2048, 4096), (512, 1024), id="wide"),
        pytest.param((1122, 600), (1023, 547), id="the-factor-is-rounded"),
        pytest.param((5000, 2), (1024, 1), id="a-line-stays-one"),
    ],
)
def test_released_size(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert released_size(np.zeros((*shape, 3), np.uint8)).shape == (*size, 3)


@pytest.mark.parametrize("shape", [(1024, 1024), (16, 16), (1, 1024)], ids=str)
def test_small_photos_stay(shape: tuple[int, int]) -> None:
    photo = noise(*shape)
    assert max(shape) <= LONG_SIDE and released_size(photo) is photo
