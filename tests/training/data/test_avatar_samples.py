"""The avatar world as training samples."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.locate import AVATAR_SCALE
from fantasyid_engine.face.tower_input import resized_crop
from fantasyid_engine.training.avatar.clips import MIN_TURN, World, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.avatar.render import Rendered
from fantasyid_engine.training.data import avatar
from fantasyid_engine.training.data.avatar import LARGEST_SHAPE, avatar_samples, build_avatar_shards
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples
from fantasyid_engine.training.data.views import farthest_views
from tests.training.data.test_shards import assert_same

WORLD = World(seed=5, split="train", people=3, num_frames=5)
SIZES: dict[str, Any] = {"size": 32, "view_size": 24, "crop_size": 32}
EDITED: dict[str, Any] = {"size": 16, "view_size": 16, "crop_size": 16, "views": 1}


@pytest.fixture(scope="module")
def samples() -> list[TrainingSample]:
    return list(avatar_samples(WORLD, 5, **SIZES))


def test_what_a_sample_has(samples: list[TrainingSample]) -> None:
    for number, made in enumerate(samples):
        expected = WORLD.sample(number)
        assert made.prompt == expected.prompt
        assert (made.key, made.person) == (f"train-5-{number:07d}", f"train-5-{number % 3}")
        assert (made.views.shape, made.views.dtype) == ((6, 3, 24, 24), torch.uint8)
        assert (made.view_poses.shape, made.view_poses.dtype) == ((6, 3), torch.float32)
        clip = render_takes([expected.target], 32)
        assert torch.equal(known(made.frames), clip.pictures) and known(made.frames).shape == (5, 3, 32, 32)
        assert torch.equal(known(made.boxes), clip.boxes)
        assert torch.equal(known(made.shape), torch.from_numpy(expected.who.shape))
        vertices = make_head().vertices(expected.who.shape.astype(np.float64))
        assert made.vertices.dtype == torch.float32 and np.allclose(made.vertices.numpy(), vertices, atol=1e-7)
        assert known(made.look).dtype == torch.float32 and known(made.look).abs().max() < 2
        motion = expected.target.motion
        assert np.array_equal(known(made.motion).numpy(), np.concatenate([motion.pose, motion.expression], axis=1))
        assert made.moments is None and made.text is None
    assert len({made.key for made in samples}) == 5
    # Of one person: the same look, another clip.
    assert torch.equal(known(samples[0].look), known(samples[3].look))
    assert not torch.equal(known(samples[0].look), known(samples[1].look))


def known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def test_views_are_the_most_different_of_what_was_drawn(samples: list[TrainingSample]) -> None:
    """None like the clip's first frame or like another, in the order of choice."""
    for number, made in enumerate(samples):
        poses, target = made.view_poses.numpy(), WORLD.sample(number).target.motion
        assert (np.abs(poses - target.pose[0]).sum(1) >= MIN_TURN).all()
        assert farthest_views(poses, 6) == [0, 1, 2, 3, 4, 5]
        apart = np.linalg.norm(poses[:, None] - poses[None], axis=2) + 9 * np.eye(6)
        assert apart.min() > 0.08
        pictures = made.views.flatten(1).float()
        assert (torch.cdist(pictures, pictures) + 1e9 * torch.eye(6)).min() > 100


def test_views_are_cut_out_as_the_engine_cuts_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the detector that never errs; the stills themselves are taken from the renderer."""
    rendered = []

    def render_and_keep(takes: list[Take], size: int, **words: Any) -> Rendered:
        made = render_takes(takes, size, **words)
        rendered.append((size, made))
        return made

    monkeypatch.setattr(avatar, "BOX_ERROR", 0.0)
    monkeypatch.setattr(avatar, "render_takes", render_and_keep)
    (made,) = avatar_samples(WORLD, 1, **SIZES)
    (_, (size, stills)) = rendered
    assert size == 48 and len(stills.pictures) == 6
    for view, picture, (left, top, right, bottom) in zip(
        made.views, stills.pictures.permute(0, 2, 3, 1).numpy(), stills.boxes.tolist(), strict=True
    ):
        box = FaceBox(left, top, right - left, bottom - top, None)
        seen = resized_crop(crop_head(picture, box, 32, scale=AVATAR_SCALE), 24)[0] * 255
        assert (view - seen.clamp(0, 255)).abs().max() < 0.51  # rounded to whole numbers


def test_boxes_err_as_detectors_do(samples: list[TrainingSample], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avatar, "BOX_ERROR", 0.0)
    exact = next(avatar_samples(WORLD, 1, **SIZES))
    difference = (exact.views.float() - samples[0].views.float()).abs().mean((1, 2, 3))
    assert difference.min() > 1 and torch.equal(exact.view_poses, samples[0].view_poses)


def test_the_same_call_gives_the_same_samples(samples: list[TrainingSample]) -> None:
    for one, other in zip(samples, avatar_samples(WORLD, 5, **SIZES), strict=True):
        assert_same(one, other)


def test_a_sample_does_not_depend_on_others(samples: list[TrainingSample], monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices agree, wherever they begin, and however many are rendered together."""
    monkeypatch.setattr(avatar, "BATCH", 2)
    for start, count in ((0, 3), (3, 2), (4, 1), (2, 0)):
        part = list(avatar_samples(WORLD, count, start=start, **SIZES))
        assert len(part) == count
        for number, one in enumerate(part, start):
            assert_same(one, samples[number])


@pytest.mark.parametrize("world", [World(seed=6, split="train", people=3), World(seed=5, split="test", people=3)])
def test_other_seeds_and_splits_are_others(samples: list[TrainingSample], world: World) -> None:
    (made,) = avatar_samples(world, 1, **SIZES)
    assert made.key != samples[0].key and made.person != samples[0].person
    assert not torch.equal(made.view_poses, samples[0].view_poses)


def test_edited_clips_contradict_their_views() -> None:
    """Clip and vertices change in one to three directions; the views, what they show and the prompt do not."""
    plain = list(avatar_samples(WORLD, 12, **EDITED))
    edited = list(avatar_samples(WORLD, 12, edited_share=1.0, **EDITED))
    basis = make_head().shape_basis.reshape(16, -1)
    changes = []
    for number, (one, other) in enumerate(zip(plain, edited, strict=True)):
        for name in ("key", "person", "prompt"):
            assert getattr(one, name) == getattr(other, name)
        for name in ("views", "view_poses", "shape", "look"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert not torch.equal(known(one.frames), known(other.frames))
        offset = (other.vertices - one.vertices).double().numpy().ravel()
        moved, residual = np.linalg.lstsq(basis.T, offset)[:2]
        assert residual[0] < 1e-10
        changes.append(int((np.abs(moved) > 1e-3).sum()))
        shape = known(one.shape).numpy() + moved.astype(np.float32)
        assert np.abs(shape).max() < LARGEST_SHAPE + 1e-4
        target = WORLD.sample(number).target
        seen = render_takes([replace(target, person=replace(target.person, shape=shape))], 16).pictures
        assert (seen.float() - known(other.frames)).abs().mean() < 0.1  # the shape was read off the vertices
    assert set(changes) == {1, 2, 3}


def test_a_share_is_edited() -> None:
    """Whether one is follows from its number alone."""
    world = World(seed=1, split="train", people=1, num_frames=2)
    sizes: dict[str, Any] = {"size": 8, "view_size": 8, "crop_size": 8, "views": 1}
    plain = make_head().vertices(world.person(0).shape.astype(np.float64))
    made = list(avatar_samples(world, 120, edited_share=0.25, **sizes))
    edited = [not np.allclose(one.vertices.numpy(), plain, atol=1e-7) for one in made]
    assert 18 <= sum(edited) <= 42  # 30 expected, deviation 4.7


def test_shards(tmp_path: Path, samples: list[TrainingSample]) -> None:
    heard = []
    written = build_avatar_shards(
        tmp_path / "s", WORLD, 3, **SIZES, edited_share=0.0, on_sample=lambda *progress: heard.append(progress)
    )
    read = ShardedSamples(tmp_path / "s")
    assert written == len(read) == 3 and heard == [(1, 3), (2, 3), (3, 3)]
    for one, other in zip(read, samples, strict=False):
        assert_same(one, other)
    world = {"seed": 5, "split": "train", "people": 3, "num_frames": 5}
    assert read.about == {"world": world, **SIZES, "views": 6, "edited_share": 0.0, "start": 0}
