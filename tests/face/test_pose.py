"""Head pose from landmarks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fantasyid_engine.face.pose import ADULT_FACE, LANDMARK_ERROR, FaceModel, angles, pose_from_landmarks
from fantasyid_engine.training.avatar.geometry import rotation
from fantasyid_engine.training.data.views import ALIGNED
from tests.training.data.sample_landmarks import (
    FIFTEEN,
    FIVE,
    Drawn,
    Floats,
    average,
    degrees_between,
    drawn,
    focal_length,
)

PEOPLE, SIZE = 240, 256
TRUE = 0.001
"""Error of landmarks that are read off the mesh."""
turns = st.tuples(st.floats(-1.2, 1.2), st.floats(-1.0, 1.0), st.floats(-1.5, 1.5))


@pytest.fixture(scope="module", params=[False, True], ids=["calm", "making-faces"])
def people(request: pytest.FixtureRequest) -> Drawn:
    return drawn(PEOPLE, SIZE, expressions=request.param)


def poses(people: Drawn, vertices: list[int], model: FaceModel, *, noise: float = 0.0, error: float = TRUE) -> Floats:
    """As found; `noise` and `error` as shares of the landmarks' extent."""
    rng, found = np.random.default_rng(0), []
    for seen in people.screen[:, vertices]:
        off = rng.normal(0, 1, seen.shape) * noise * np.linalg.norm(np.ptp(seen, axis=0))
        found.append(pose_from_landmarks(seen + off, (SIZE, SIZE), model, focal=focal_length(SIZE), error=error))
    return np.array(found)


def test_within_three_degrees_of_every_avatar(people: Drawn) -> None:
    """Fifteen landmarks, the average face and how faces differ; neither the person's shape nor zoom and shift."""
    found = poses(people, FIFTEEN, average(FIFTEEN, spread=True))
    assert degrees_between(found, people.poses).max() < 3
    assert np.degrees(np.abs(found - people.poses)).max() < 3


def test_with_landmarks_that_are_off(people: Drawn) -> None:
    found = poses(people, FIFTEEN, average(FIFTEEN, spread=True), noise=0.005, error=LANDMARK_ERROR)
    assert np.percentile(degrees_between(found, people.poses), 95) < 3


def test_what_five_landmarks_and_no_spread_give(people: Drawn) -> None:
    """The figures of the module's table: yaw and roll are near, pitch is open, more landmarks and spread help."""
    five = poses(people, FIVE, average(FIVE, spread=False))
    yaw, pitch, roll = np.median(np.degrees(np.abs(five - people.poses)), axis=0)
    assert yaw < 2.5 and roll < 0.6 and 4 < pitch < 8
    fifteen = poses(people, FIFTEEN, average(FIFTEEN, spread=False))
    spread = [poses(people, vertices, average(vertices, spread=True)) for vertices in (FIVE, FIFTEEN)]
    tries = (five, fifteen, *spread)
    five_, fifteen_, five_spread, fifteen_spread = (np.median(degrees_between(found, people.poses)) for found in tries)
    assert fifteen_spread < five_spread < five_ / 4
    assert fifteen_spread < fifteen_ / 2 < five_ / 4


def project(
    points: Floats, pose: tuple[float, float, float], place: tuple[float, float, float], focal: float, middle: Floats
) -> Floats:
    """Written out anew: y up becomes row down; the camera is at the origin and looks along -z."""
    turned = points @ rotation(torch.tensor([pose], dtype=torch.float64)).numpy()[0].T + place
    return np.stack([turned[:, 0], -turned[:, 1]], axis=1) / -turned[:, 2:] * focal + middle


@settings(deadline=None, max_examples=60)
@given(turns, st.floats(-0.1, 0.1), st.floats(-0.1, 0.1), st.floats(0.3, 2.0), st.floats(300, 3000))
def test_exact_where_the_face_is_known(
    pose: tuple[float, float, float], x: float, y: float, distance: float, focal: float
) -> None:
    height, width = 480, 720
    seen = project(ADULT_FACE.points, pose, (x, y, -distance), focal, np.array([width, height]) / 2)
    assert pose_from_landmarks(seen, (height, width), focal=focal) == pytest.approx(pose, abs=1e-4)


def test_the_default_focal_length_is_the_longer_side() -> None:
    seen = project(ADULT_FACE.points, (0.4, -0.2, 0.1), (0, 0, -0.6), 720.0, np.zeros(2))
    for size in ((480, 720), (720, 480)):
        assert pose_from_landmarks(seen + np.array(size[::-1]) / 2, size) == pytest.approx((0.4, -0.2, 0.1), abs=1e-4)


@settings(deadline=None, max_examples=40)
@given(turns)
def test_a_mirrored_picture(pose: tuple[float, float, float]) -> None:
    seen = project(ADULT_FACE.points, pose, (0.02, 0.03, -0.7), 500.0, np.full(2, 250))
    mirrored = (seen * [-1, 1] + [500, 0])[[1, 0, 2, 4, 3]]
    yaw, pitch, roll = pose_from_landmarks(mirrored, (500, 500))
    assert (-yaw, pitch, -roll) == pytest.approx(pose, abs=1e-4)


def test_an_aligned_face_looks_ahead() -> None:
    """FFHQ's template, as a camera with a long lens sees it."""
    assert np.degrees(np.abs(pose_from_landmarks(np.array(ALIGNED), (512, 512), focal=3000))).max() < 2


@given(turns)
def test_angles_of_a_rotation(pose: tuple[float, float, float]) -> None:
    made = rotation(torch.tensor([pose], dtype=torch.float64)).numpy()[0]
    assert angles(made) == pytest.approx(pose, abs=1e-9)


GOOD = np.array([(200, 200), (260, 200), (230, 240), (205, 265), (255, 265)], np.float32)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        pytest.param(GOOD[:4], "shape \\(4, 2\\); takes finite \\[5, 2\\]", id="one-is-missing"),
        pytest.param(GOOD.T, "shape \\(2, 5\\)", id="transposed"),
        pytest.param(np.where(GOOD == 230, np.nan, GOOD), "finite", id="not-finite"),
        pytest.param(np.full((5, 2), 7.0), "in one line", id="one-place"),
        pytest.param(np.arange(10.0).reshape(5, 2), "in one line", id="a-line"),
        pytest.param(GOOD[[1, 0, 2, 4, 3]], "turned away", id="left-is-right"),
        pytest.param(240 + (GOOD - 240) * 1e-6, "no face", id="microscopic"),
        pytest.param(GOOD * 1e7, "no face", id="far-beyond-the-picture"),
        pytest.param(GOOD[[3, 4, 2, 0, 1]], "turned away", id="mouth-is-eyes"),
    ],
)
def test_landmarks_of_no_face(landmarks: Floats, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pose_from_landmarks(landmarks, (480, 480))


@pytest.mark.parametrize(
    ("size", "focal", "error"),
    [((0, 480), None, 1.0), ((480, -1), 480.0, 1.0), ((9, 9), 0.0, 1.0), ((9, 9), 9.0, 0.0)],
)
def test_a_camera_that_is_none(size: tuple[int, int], focal: float | None, error: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"):
        pose_from_landmarks(GOOD, size, focal=focal, error=error)


@settings(deadline=None, max_examples=300)
@given(arrays(np.float32, (5, 2), elements=st.floats(-50, 700, width=32)), st.sampled_from([1e-4, 1.0, 1.0, 1e3]))
def test_any_five_points_are_a_pose_or_an_error(landmarks: Floats, scale: float) -> None:
    landmarks = landmarks * scale
    try:
        found = pose_from_landmarks(landmarks, (480, 640))
    except ValueError:
        return
    assert np.isfinite(found).all() and np.abs(found[:2]).max() <= np.pi / 2


@pytest.mark.parametrize(
    ("points", "spread", "message"),
    [
        pytest.param(np.eye(3), None, "4 or more", id="three"),
        pytest.param(np.arange(12.0).reshape(4, 3), None, "no line", id="a-line"),
        pytest.param(np.full((4, 3), np.nan), None, "finite", id="not-finite"),
        pytest.param(ADULT_FACE.points[:, :2], None, "\\[N, 3\\]", id="flat"),
        pytest.param(ADULT_FACE.points, np.zeros((2, 4, 3)), "\\[K, 5, 3\\]", id="spread-of-others"),
        pytest.param(ADULT_FACE.points, np.full((2, 5, 3), np.inf), "finite", id="spread-not-finite"),
    ],
)
def test_models_that_are_none(points: Floats, spread: Floats | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FaceModel(points=points) if spread is None else FaceModel(points=points, spread=spread)
