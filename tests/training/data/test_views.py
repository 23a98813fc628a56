"""The multi-view collection: which views, and what is kept of them."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fantasyid_engine.face.crop import CROP_SIZE, crop_face
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.pose import pose_from_landmarks
from fantasyid_engine.face.tower_input import CLIP_DEVIATION, CLIP_MEAN, tower_input
from fantasyid_engine.training.avatar.clips import World, draw_still
from fantasyid_engine.training.avatar.frames import pack
from fantasyid_engine.training.data.faces import FoundFace
from fantasyid_engine.training.data.frames import Frames
from fantasyid_engine.training.data.views import ALIGNED, VIEWS, box_of_landmarks, collect_views, farthest_views
from tests.training.data.sample_landmarks import FIVE, Floats, screen

ALIGNED_52 = np.array(ALIGNED)


def smallest_distance(poses: Floats) -> float:
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(np.asarray(poses, float), 2))


def test_picks_the_known_farthest_set() -> None:
    """Corners of a box about the frontal pose, each nearer to nothing else, among all points half-way to them."""
    corners = np.array([(1.2, 0, 0), (-1.0, 0, 0), (0, 0.8, 0), (0, -0.7, 0), (0, 0, 0.6)])
    between = np.array([s * corner for s in (0.25, 0.5, 0.75) for corner in corners])
    poses = np.concatenate([between[:7], corners[::-1], between[7:], [(0.01, 0, 0)]])
    first = 7  # of the corners, the last one in front
    assert farthest_views(poses, 6) == [len(poses) - 1, first + 4, first + 3, first + 2, first + 1, first]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(20, 300))
def test_a_crowd_of_frontal_pictures_and_five_others(seed: int, crowd: int) -> None:
    rng = np.random.default_rng(seed)
    frontal = rng.uniform(-0.03, 0.03, (crowd, 3))
    others = np.array([(0.6, 0, 0), (-0.6, 0, 0), (0, 0.4, 0), (0, -0.4, 0), (0.5, 0.3, 0.3)])
    others += rng.uniform(-0.03, 0.03, others.shape)
    order = rng.permutation(crowd + 5)
    chosen = farthest_views(np.concatenate([frontal, others])[order], 6)
    assert order[chosen[0]] == np.linalg.norm(frontal, axis=1).argmin()
    assert {int(place) for place in order[chosen[1:]]} == set(range(crowd, crowd + 5))


grid = st.integers(1, 40).flatmap(lambda n: arrays(np.int64, (n, 3), elements=st.integers(-3, 3)))


@settings(deadline=None, max_examples=300)
@given(grid, st.integers(1, 8))
def test_is_the_greedy_rule(grid: Floats, count: int) -> None:
    """Against the rule written out over a table of all distances; on a grid there are ties and doubles."""
    points = [tuple(int(value) for value in row) for row in grid]

    def distance(a: int, b: int) -> int:
        return sum((x - y) ** 2 for x, y in zip(points[a], points[b], strict=True))

    lengths = [sum(x * x for x in point) for point in points]
    expected = [lengths.index(min(lengths))]
    while len(expected) < count:
        nearest = [min(distance(i, j) for j in expected) for i in range(len(points))]
        if max(nearest) == 0:
            break
        expected.append(nearest.index(max(nearest)))
    assert farthest_views(grid, count) == expected


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32), st.integers(4, 9), st.integers(2, 4))
def test_half_as_far_apart_as_could_be(seed: int, number: int, count: int) -> None:
    poses = np.random.default_rng(seed).normal(size=(number, 3))
    best = max(smallest_distance(poses[list(some)]) for some in combinations(range(number), count))
    assert smallest_distance(poses[farthest_views(poses, count)]) >= best / 2 - 1e-12


def test_fewer_different_poses_than_are_asked_for() -> None:
    assert farthest_views(np.zeros((9, 3))) == [0]
    assert farthest_views(np.array([(0.2, 0, 0), (0, 0, 0), (0.2, 0, 0)])) == [1, 0]
    assert len(farthest_views(np.random.default_rng(0).normal(size=(99, 3)))) == VIEWS == 6


@pytest.mark.parametrize(
    ("poses", "count"),
    [
        pytest.param(np.zeros((0, 3)), 6, id="none"),
        pytest.param(np.zeros(3), 6, id="no-list"),
        pytest.param(np.zeros((4, 2)), 6, id="two-angles"),
        pytest.param(np.array([(0, np.nan, 0)]), 6, id="no-number"),
        pytest.param(np.zeros((4, 3)), 0, id="count"),
    ],
)
def test_poses_that_are_none(poses: Floats, count: int) -> None:
    with pytest.raises(ValueError, match="farthest_views"):
        farthest_views(poses, count)


def test_five_landmarks_are_enough_to_choose_by() -> None:
    """Poses of the adult face and a guessed camera: what they choose is nearly as far apart as what true poses do."""
    world, size = World(seed=3, split="validation", people=25), 256
    as_far, by_chance = [], []
    for number in range(25):
        sample, rng = world.sample(number), np.random.default_rng(number)
        frames = pack([draw_still(sample.target, sample.attributes, rng)[0] for _ in range(24)])
        true = frames.pose.double().numpy()
        found = np.array([pose_from_landmarks(seen[FIVE], (size, size)) for seen in screen(frames, size)])
        best = smallest_distance(true[farthest_views(true)])
        as_far.append(smallest_distance(true[farthest_views(found)]) / best)
        by_chance.append(np.mean([smallest_distance(true[rng.choice(24, 6, False)]) for _ in range(10)]) / best)
    assert np.median(as_far) > 0.8 and np.median(by_chance) < 0.6


class Told:
    """A `FaceFinder` that finds what it is told, by the number that a frame's first pixel has."""

    name = "told"

    def __init__(self, faces: Sequence[Sequence[FoundFace]]) -> None:
        self.faces = faces

    def find(self, picture: Frames) -> list[FoundFace]:
        return list(self.faces[picture[0, 0, 0]])


def face(landmarks: Floats = ALIGNED_52, confidence: float = 0.95, side: float = 200.0) -> FoundFace:
    return FoundFace(FaceBox(100, 100, side, side, confidence), confidence, landmarks.astype(np.float32))


def numbered(count: int) -> Frames:
    """Frames of noise, each with its number in the first pixel."""
    frames = np.random.default_rng(1).integers(0, 256, (count, 500, 600, 3), np.uint8)
    frames[:, 0, 0, 0] = np.arange(count)
    return frames


def shifted(turn: float) -> Floats:
    """Landmarks of a face that turns: the nose goes aside."""
    return ALIGNED_52 * 0.7 + [60.0, 50.0] + np.outer([0, 0, turn, 0, 0], [1.0, 0.0])


def test_collects_what_the_tower_sees_at_inference() -> None:
    turns, frames = (30.0, 0.0, -40.0, 5.0), numbered(4)
    views = collect_views(frames, Told([[face(shifted(turn))] for turn in turns]), view_size=64, count=3)
    assert views is not None
    assert (views.pictures.shape, views.pictures.dtype, views.poses.dtype) == (
        (3, 3, 64, 64),
        torch.uint8,
        torch.float32,
    )
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_DEVIATION))
    for place, picture, pose in zip((1, 2, 0), views.pictures, views.poses, strict=True):
        landmarks = shifted(turns[place]).astype(np.float32)
        assert pose.numpy() == pytest.approx(pose_from_landmarks(landmarks, (500, 600)), abs=1e-6)
        seen = tower_input(crop_face(frames[place], box_of_landmarks(landmarks)), 64)[0] * deviation + mean
        assert (picture - (seen * 255).clamp(0, 255)).abs().max() < 0.51  # rounded to whole numbers
    assert views.poses[1, 0] < -0.1 and views.poses[2, 0] > 0.1  # the nose to the right is a face to the right


def test_of_several_faces_the_largest() -> None:
    views = collect_views(numbered(1), Told([[face(shifted(0)), face(shifted(30))]]), view_size=32)
    assert views is not None and len(views.poses) == 1 and abs(views.poses[0, 0]) < 0.1


@pytest.mark.parametrize(
    "found",
    [
        pytest.param([], id="none"),
        pytest.param([face(confidence=0.89)], id="unsure"),
        pytest.param([face(side=47)], id="small"),
        pytest.param([face(landmarks=np.ones((5, 2)))], id="landmarks-in-one-place"),
    ],
)
def test_passes_over_frames_without_a_face_to_use(found: list[FoundFace]) -> None:
    frames = numbered(2)
    assert collect_views(frames[:1], Told([found]), view_size=32) is None
    views = collect_views(frames, Told([found, [face()]]), view_size=32)
    assert views is not None and len(views.pictures) == 1


@pytest.mark.parametrize("scale", [1.0, 0.5, 2.0])
@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_the_box_is_that_of_the_aligned_face(scale: float, tilt: float) -> None:
    """A similarity of the template: its crop is the square that the similarity makes of the aligned picture."""
    turn = scale * np.exp(1j * tilt)
    matrix = scale * np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    box = box_of_landmarks(ALIGNED_52 @ matrix + [40, 30])
    corner = turn * (CROP_SIZE / 2) * (1 + 1j) + (40 + 30j) - scale * (CROP_SIZE / 2) * (1 + 1j)
    photo = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    if scale == 1 and tilt == 0:
        assert (crop_face(photo, box) == photo[30 : 30 + CROP_SIZE, 40 : 40 + CROP_SIZE]).all()
    side = 1.51 * box.width
    middle = box.left + 0.49 * box.width + 1j * (box.top + 0.42 * box.height)
    assert side == pytest.approx(scale * CROP_SIZE)
    assert middle - side / 2 * (1 + 1j) == pytest.approx(corner)
