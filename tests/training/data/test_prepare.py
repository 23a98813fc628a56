"""Clips of a manifest as training samples, end to end: videos, a finder with landmarks, vertices as files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.errors import InputError
from fantasyid_engine.face.crop import crop_face
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.pose import pose_from_landmarks
from fantasyid_engine.training.avatar.clips import World, render_clips
from fantasyid_engine.training.avatar.folder import write_world
from fantasyid_engine.training.avatar.frames import pack
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.avatar.mesh import avatar_hierarchy
from fantasyid_engine.training.data.crops import tower_picture
from fantasyid_engine.training.data.faces import FoundFace
from fantasyid_engine.training.data.frames import Frames, read_clip_frames
from fantasyid_engine.training.data.manifest import MANIFEST, Clip, write_manifest
from fantasyid_engine.training.data.prepare import prepare_samples
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples, write_shards
from fantasyid_engine.training.data.views import box_of_landmarks, farthest_views
from fantasyid_engine.video.write import write_video
from tests.face.plys import ply
from tests.training.data.manifest_clips import clip
from tests.training.data.sample_landmarks import FIVE, screen
from tests.training.data.test_shards import assert_same

WORLD = World(seed=12, split="validation", people=3, num_frames=13)
SIZE, CLIPS = 128, 3
Out = dict[str, str]
HIERARCHY = avatar_hierarchy(MeshConfig(levels=(642, 162, 42), spiral_length=9))


@dataclass(frozen=True, slots=True, eq=False)
class TrueLandmarks:
    """A stand-in for a detector of real faces: it knows all frames of the clips, and where their landmarks are.

    It takes a picture for the frame that it is nearest to, and for none where all are far off.

    frames [N, S, S, 3]; landmarks [N, 5, 2] and boxes [N, 4] (left, top, right, bottom), pixels
    """

    frames: Frames
    landmarks: NDArray[np.float32]
    boxes: NDArray[np.float64]
    confidence: float = 0.97
    name: str = "true landmarks"

    def find(self, picture: Frames) -> list[FoundFace]:
        if picture.shape != self.frames.shape[1:]:
            return []
        off = np.abs(self.frames.astype(np.int16) - picture).mean((1, 2, 3))
        place = int(off.argmin())
        if off[place] > 8:
            return []
        left, top, right, bottom = map(float, self.boxes[place])
        box = FaceBox(left, top, right - left, bottom - top, self.confidence)
        return [FoundFace(box, self.confidence, self.landmarks[place])]


@pytest.fixture(scope="module")
def finder() -> TrueLandmarks:
    takes = [WORLD.sample(number).target for number in range(CLIPS)]
    frames = render_clips([WORLD.sample(number) for number in range(CLIPS)], SIZE).flatten(0, 1)
    seen = screen(pack(takes), SIZE)
    landmarks, boxes = seen[:, FIVE].astype(np.float32), np.concatenate([seen.min(1), seen.max(1)], axis=1)
    return TrueLandmarks(frames.permute(0, 2, 3, 1).numpy(), landmarks, boxes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest, videos and vertices of three clips."""
    folder = tmp_path_factory.mktemp("real")
    write_world(WORLD, folder / "world", CLIPS, SIZE)
    (folder / "vertices").mkdir()
    for number in range(CLIPS):
        head, shape = make_head(), WORLD.sample(number).who.shape.astype(np.float64)
        (folder / "vertices" / f"clip-{number}.ply").write_bytes(ply(head.vertices(shape), head.faces))
    write_manifest(folder / MANIFEST, [listed(number) for number in range(CLIPS)])
    return folder


def listed(number: int, **changed: Any) -> Clip:
    sample = WORLD.sample(number)
    values = {"key": f"clip-{number}", "person": f"person {sample.person}", "video": f"world/clips/{number:04d}.mp4"}
    return clip(**values | {"prompt": sample.prompt} | changed)


def prepare(
    root: Path, finder: TrueLandmarks, name: str = MANIFEST, **changed: Any
) -> tuple[list[TrainingSample], Out]:
    """The samples of a manifest, and the reasons of the clips that fell out, by key."""
    words = {"num_frames": 9, "size": (96, 64), "view_size": 32, "hierarchy": HIERARCHY} | changed
    out: Out = {}
    made = prepare_samples(
        root / name, root / "vertices", finder, on_fall_out=lambda one, reason: out.update({one.key: reason}), **words
    )
    return list(made), out


def test_every_part_of_a_sample(root: Path, finder: TrueLandmarks) -> None:
    samples, out = prepare(root, finder)
    assert out == {} and [made.key for made in samples] == ["clip-0", "clip-1", "clip-2"]
    for number, made in enumerate(samples):
        expected = WORLD.sample(number)
        assert (made.person, made.prompt) == (f"person {number}", expected.prompt)
        video = root / "world" / "clips" / f"{number:04d}.mp4"
        assert made.frames is not None and (made.frames.shape, made.frames.dtype) == ((9, 3, 96, 64), torch.uint8)
        assert (made.frames.permute(0, 2, 3, 1).numpy() == read_clip_frames(video, 0, 9, (96, 64))).all()
        vertices = make_head().vertices(expected.who.shape.astype(np.float64))
        assert made.vertices.dtype == torch.float32 and np.allclose(made.vertices.numpy(), vertices, atol=1e-7)
        assert made.boxes is None and made.shape is None and made.look is None and made.moments is None


def test_views_are_the_most_different_of_the_whole_clip(root: Path, finder: TrueLandmarks) -> None:
    """At the video's own size, which the frames of the sample are not, and beyond the frames that it keeps."""
    samples, _ = prepare(root, finder, num_frames=2)
    for number, made in enumerate(samples):
        of_clip = slice(13 * number, 13 * number + 13)
        found = np.array([pose_from_landmarks(seen, (SIZE, SIZE)) for seen in finder.landmarks[of_clip]])
        chosen = farthest_views(found, 6)
        assert (made.views.shape, made.views.dtype) == ((6, 3, 32, 32), torch.uint8)
        assert made.view_poses.numpy() == pytest.approx(found[chosen], abs=1e-5)
        for view, place in zip(made.views, chosen, strict=True):
            true = finder.frames[of_clip][place]
            crop = crop_face(true, box_of_landmarks(finder.landmarks[of_clip][place]))
            assert psnr(view, tower_picture(crop, 32)) > 26  # the video is lossy
        true_poses = WORLD.sample(number).target.motion.pose
        assert np.ptp(true_poses[chosen], axis=0).max() > 0.8 * np.ptp(true_poses, axis=0).max()


def psnr(one: Tensor, other: Tensor) -> float:
    return float(10 * torch.log10(255**2 / (one.float() - other.float()).square().mean()))


def test_fewer_views_and_wider_steps(root: Path, finder: TrueLandmarks) -> None:
    samples, out = prepare(root, finder, num_frames=5, stride=3, views=2)
    assert out == {} and len(samples) == 3
    for number, made in enumerate(samples):
        every = read_clip_frames(root / "world" / "clips" / f"{number:04d}.mp4", 0, 13, (96, 64))
        assert made.frames is not None and (made.frames.permute(0, 2, 3, 1).numpy() == every[::3]).all()
        assert made.views.shape == (2, 3, 32, 32)


def test_part_of_a_video(root: Path, finder: TrueLandmarks) -> None:
    write_manifest(root / "part.jsonl", [listed(1, start=4, frames=3)])
    (made,), out = prepare(root, finder, "part.jsonl", num_frames=3)
    every = read_clip_frames(root / "world" / "clips" / "0001.mp4", 0, 13, (96, 64))
    assert out == {} and made.frames is not None
    assert (made.frames.permute(0, 2, 3, 1).numpy() == every[4:7]).all()
    found = {tuple(pose_from_landmarks(finder.landmarks[13 + i], (SIZE, SIZE)).round(4)) for i in (4, 5, 6)}
    assert {tuple(pose.round(4)) for pose in made.view_poses.double().numpy()} == found


def test_what_cannot_be_used_falls_out_with_the_reason(root: Path, finder: TrueLandmarks) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (13, SIZE, SIZE, 3), np.uint8)
    write_video(noise, root / "noise.mp4", 8)
    for key in ("noise", "missing"):
        (root / "vertices" / f"{key}.ply").write_bytes((root / "vertices" / "clip-0.ply").read_bytes())
    (root / "vertices" / "millimetres.ply").write_bytes(ply(1000 * make_head().template))
    clips = [
        listed(0, key="no-vertices"),
        listed(0, key="millimetres"),
        listed(0, frames=8),
        listed(1, start=6),
        listed(2),
        listed(0, key="noise", video="noise.mp4"),
        listed(0, key="missing", video="nowhere.mp4"),
    ]
    write_manifest(root / "bad.jsonl", clips)
    samples, out = prepare(root, finder, "bad.jsonl")
    assert [made.key for made in samples] == ["clip-2"]
    reasons = {
        "no-vertices": "no-vertices.ply does not exist",
        "millimetres": "it looks like millimetres",
        "clip-0": "it has 8 frames; 9 are needed",
        "clip-1": "from frame 6 on it has 7 of 9 frames",
        "noise": "no face of confidence 0.9 and 48 pixels in its frames (true landmarks)",
        "missing": "nowhere.mp4 cannot be read",
    }
    assert out.keys() == reasons.keys()
    for key, reason in reasons.items():
        assert reason in out[key] and out[key].isprintable()


def test_unsure_and_small_faces_are_none(root: Path, finder: TrueLandmarks) -> None:
    samples, out = prepare(root, replace(finder, confidence=0.85))
    assert samples == [] and len(out) == 3
    samples, out = prepare(root, replace(finder, boxes=finder.boxes * 0.3))
    assert samples == [] and len(out) == 3


def test_into_shards(root: Path, finder: TrueLandmarks, tmp_path: Path) -> None:
    samples, _ = prepare(root, finder)
    assert write_shards(tmp_path / "s", samples) == 3
    for one, other in zip(ShardedSamples(tmp_path / "s"), samples, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"stride": 0}])
def test_counts_that_are_none(root: Path, finder: TrueLandmarks, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        prepare(root, finder, **wrong)


def test_without_a_manifest(root: Path, finder: TrueLandmarks) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl") as caught:
        prepare(root, finder, "nowhere.jsonl")
    assert caught.value.code == "manifest_invalid"
