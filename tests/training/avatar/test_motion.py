"""Every motion is seen in every clip, and nothing else is."""

from itertools import pairwise

import numpy as np
import pytest

from fantasyid_engine.evaluation.vocabulary import VALUES, goes_with
from fantasyid_engine.training.avatar.motion import EXPRESSION, HIGHEST, LOWEST, Motion, motion_path, reference_pose

FRAMES = (5, 9, 13, 49)
DRAWS = 200
PAIRS = [(m, e) for m in VALUES["motion"] for e in VALUES["expression"] if goes_with(m, e)]


def paths(motion: str, num_frames: int, expression: str = "neutral", **options: float) -> list[Motion]:
    return [motion_path(motion, expression, num_frames, np.random.default_rng(i), **options) for i in range(DRAWS)]


def of(made: Motion, name: str) -> np.ndarray:
    return made.expression[:, EXPRESSION.index(name)]


def peaks(values: np.ndarray) -> np.ndarray:
    inner = values[1:-1]
    return inner[(inner > values[:-2]) & (inner >= values[2:])]


@pytest.mark.parametrize(("motion", "expression"), PAIRS)
def test_ranges_and_shapes(motion, expression):
    for num_frames in (2, 3, 4, 5, 13, 50):
        for seed in range(20):
            for amplitude in (1.0, 1.8):
                made = motion_path(motion, expression, num_frames, np.random.default_rng(seed), amplitude=amplitude)
                assert made.pose.shape == (num_frames, 3) and made.expression.shape == (num_frames, len(EXPRESSION))
                assert made.pose.dtype == made.expression.dtype == np.float32
                assert np.isfinite(made.pose).all()
                assert (made.expression >= LOWEST).all() and (made.expression <= HIGHEST).all()
                assert (np.abs(made.pose[0]) <= (0.201, 0.121, 0.081)).all()


@pytest.mark.parametrize("num_frames", FRAMES)
@pytest.mark.parametrize("side", [-1, 1], ids=["left", "right"])
def test_turns(side, num_frames):
    for made in paths("turn_left" if side < 0 else "turn_right", num_frames):
        yaw = side * made.pose[:, 0]
        assert yaw[0] <= 0.03 and 0.45 <= yaw[-1] <= 0.75 and yaw[-1] - yaw[0] >= 0.4
        # The eyes go first: over the turn they look to its side.
        assert (side * of(made, "gaze_x")).max() > (side * of(made, "gaze_x"))[0] + 0.15


@pytest.mark.parametrize("num_frames", FRAMES)
def test_nod(num_frames):
    swings = set()
    for made in paths("nod", num_frames):
        dips = peaks(-made.pose[:, 1] + made.pose[0, 1])
        dips = dips[dips > 0.2]
        assert 1 <= len(dips) <= 2 and (dips >= 0.25).all()
        assert np.ptp(made.pose[:, 0]) < 0.03
        swings.add(len(dips))
    assert swings == ({1} if num_frames < 17 else {1, 2})


@pytest.mark.parametrize("num_frames", FRAMES)
def test_tilt(num_frames):
    ends = np.array([made.pose[-1, 2] for made in paths("tilt", num_frames)])
    starts = np.array([made.pose[0, 2] for made in paths("tilt", num_frames)])
    assert ((np.abs(ends) >= 0.25) & (np.abs(ends) <= 0.45)).all()
    assert 0.3 < (ends > 0).mean() < 0.7
    assert (np.abs(ends - starts) >= 0.17).all()


@pytest.mark.parametrize("num_frames", FRAMES)
def test_look_around(num_frames):
    for made in paths("look_around", num_frames):
        yaw, gaze = made.pose[:, 0], of(made, "gaze_x")
        assert np.ptp(yaw) >= 0.6
        first, last = sorted((int(yaw.argmin()), int(yaw.argmax())))
        to_first, to_last = yaw[first] - yaw[0], yaw[last] - yaw[first]
        assert abs(to_first) > 0.2 and abs(to_last) >= 0.6 and to_first * to_last < 0
        # Gaze leads: it points where the head goes next.
        assert np.corrcoef(gaze[:-1], np.diff(yaw))[0, 1] > 0.4


@pytest.mark.parametrize("num_frames", FRAMES)
def test_smile(num_frames):
    for made in paths("smile", num_frames):
        smile = of(made, "smile")
        assert abs(smile[0]) < 0.05 and smile[-1] >= 0.8 and (np.diff(smile) >= -1e-6).all()


@pytest.mark.parametrize("expression", ["neutral", "smiling", "frowning"])
@pytest.mark.parametrize("num_frames", FRAMES)
def test_talk(num_frames, expression):
    for made in paths("talk", num_frames, expression):
        mouth = of(made, "mouth_open")
        opened = peaks(mouth)
        assert len(opened) >= 2 and (opened >= 0.45).all()
        between = [low.min() for low in np.split(mouth, np.flatnonzero(np.isin(mouth, opened)))[1:-1]]
        assert max(between) < 0.3, "the mouth shuts between two openings"


@pytest.mark.parametrize("num_frames", [*range(5, 17), 25, 49])
def test_blink_shuts_the_eyes_and_opens_them(num_frames):
    for made in paths("blink", num_frames):
        blink = of(made, "blink")
        assert blink.max() >= 0.9 and blink[0] == 0 and blink.min() < 0.5
        assert (blink[blink.argmax() :] < 0.5).any(), "the eyes open again"
        assert (blink >= 0.9).mean() <= 0.4


@pytest.mark.parametrize("num_frames", FRAMES)
@pytest.mark.parametrize("motion", [motion for motion in VALUES["motion"] if motion != "blink"])
def test_only_blink_shuts_the_eyes(motion, num_frames):
    assert all((of(made, "blink") == 0).all() for made in paths(motion, num_frames))


@pytest.mark.parametrize("num_frames", FRAMES)
def test_still(num_frames):
    for made in paths("still", num_frames):
        assert (np.ptp(made.pose, axis=0) < 0.06).all() and (np.abs(made.pose - made.pose[0]) < 0.03).all()
        assert np.ptp(made.pose) > 0 and (np.ptp(made.expression[:, :4], axis=0) == 0).all()
    swaying = [np.ptp(made.pose, axis=0).max() for made in paths("still", num_frames)]
    assert min(swaying) > 0.0005, "people sway a little"


@pytest.mark.parametrize("motion", VALUES["motion"])
def test_other_motions_stay_small(motion):
    """What a motion is not named after hardly moves: yaw, roll and the mouth."""
    for made in paths(motion, 13):
        if motion not in ("turn_left", "turn_right", "look_around"):
            assert np.ptp(made.pose[:, 0]) < 0.16
        if motion != "tilt":
            assert np.ptp(made.pose[:, 2]) < 0.12
        if motion != "nod":
            assert np.ptp(made.pose[:, 1]) < 0.16
        if motion != "talk":
            assert np.ptp(of(made, "mouth_open")) <= 0.2


def test_base_expressions():
    for motion in ("nod", "still", "turn_left"):
        smiling, surprised, frowning = (
            np.stack([made.expression[0] for made in paths(motion, 5, expression)])
            for expression in ("smiling", "surprised", "frowning")
        )
        assert (smiling[:, 0] >= 0.8).all() and (np.abs(smiling[:, 1:4]) == 0).all()
        assert (surprised[:, 3] >= 0.8).all() and (surprised[:, 1] >= 0.35).all() and (surprised[:, 1] <= 0.6).all()
        assert (frowning[:, 3] <= -0.8).all() and (frowning[:, 0] <= -0.5).all() and (frowning[:, 0] >= -0.8).all()
        neutral = np.stack([made.expression[0] for made in paths(motion, 5)])
        assert (neutral[:, :4] == 0).all()


@pytest.mark.parametrize(("motion", "expression"), PAIRS)
def test_amplitude(motion, expression):
    for seed in range(20):
        clips = [
            motion_path(motion, expression, 13, np.random.default_rng(seed), amplitude=amplitude)
            for amplitude in (0, 0.3, 0.6, 1)
        ]
        assert (clips[0].pose == clips[0].pose[0]).all() and (clips[0].expression == clips[0].expression[0]).all()
        for clip in clips:
            np.testing.assert_array_equal(clip.pose[0], clips[0].pose[0])
        moved = [np.abs(clip.pose - clip.pose[0]).max() for clip in clips]
        faces = [np.abs(clip.expression - clip.expression[0]).max() for clip in clips]
        assert all(less < more for less, more in pairwise(moved))
        assert all(less <= more for less, more in pairwise(faces))
        np.testing.assert_allclose(
            clips[1].pose - clips[1].pose[0], 0.3 * (clips[3].pose - clips[3].pose[0]), atol=1e-6
        )


@pytest.mark.parametrize("motion", VALUES["motion"])
def test_paths_are_smooth_and_vary(motion):
    first, second = (motion_path(motion, "neutral", 97, np.random.default_rng(seed)) for seed in (0, 1))
    assert np.abs(np.diff(first.pose, axis=0)).max() < 0.06
    assert not np.allclose(first.pose, second.pose)
    again = motion_path(motion, "neutral", 97, np.random.default_rng(0))
    np.testing.assert_array_equal(first.pose, again.pose)
    np.testing.assert_array_equal(first.expression, again.expression)


def test_reference_pose():
    poses, faces = map(np.stack, zip(*(reference_pose(np.random.default_rng(i)) for i in range(500)), strict=True))
    assert poses.dtype == faces.dtype == np.float32 and poses.shape == (500, 3) and faces.shape == (500, 6)
    assert (np.abs(poses) <= (0.4, 0.2, 0.12)).all() and (np.ptp(poses, axis=0) > (0.7, 0.35, 0.2)).all()
    assert (faces[:, EXPRESSION.index("blink")] == 0).all()
    assert (np.abs(faces) <= 0.7).all() and (faces.std(axis=0)[[0, 1, 3, 4, 5]] > 0.03).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("dance", "neutral", 13), "motion is 'dance'"),
        (("nod", "bored", 13), "expression is 'bored'"),
        (("smile", "smiling", 13), "with motion 'smile' it must be one of neutral"),
        (("talk", "surprised", 13), "with motion 'talk'"),
        (("nod", "neutral", 1), "num_frames is 1"),
    ],
)
def test_refusals(arguments, says):
    with pytest.raises(ValueError, match=says):
        motion_path(*arguments, np.random.default_rng(0))
    with pytest.raises(ValueError, match="amplitude is -1"):
        motion_path("nod", "neutral", 13, np.random.default_rng(0), amplitude=-1)
