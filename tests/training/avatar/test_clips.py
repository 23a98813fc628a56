"""Samples follow from their number alone; nobody is in two splits; photo and clip share the person and nothing else."""

import re
from collections.abc import Iterator
from dataclasses import asdict

import numpy as np
import pytest
import torch

from fantasyid_engine.evaluation.vocabulary import VALUES, attributes_in
from fantasyid_engine.training.avatar.clips import MIN_TURN, NUM_FRAMES, SPLITS, Sample, World, render_clips
from fantasyid_engine.training.avatar.frames import pack
from fantasyid_engine.training.avatar.person import Person
from fantasyid_engine.training.avatar.render import render

IDENTITY = re.compile(
    r"\b(hair\w*|beard\w*|skin\w*|glasses|rims?|spectacles|m[ae]n|wom[ae]n|guy|lady|male|female|boys?|girls?|blond\w*"
    r"|brunette|bald|curly|afro|bun|buns|mohawk|long|bob|moustache|goatee|stubble|lips|nose|chin|jaw|ears?|freckle\w*"
    r"|makeup|lashes|young|old|black|brown|he|she|his|her|him)\b"
)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These pictures are so small that threads cost more than they save, a great deal where cores are busy."""
    usual = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(usual)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    world = World(seed=0, split="train", people=200)
    return [world.sample(index) for index in range(500)]


def written(sample: Sample) -> tuple[object, ...]:
    """All of a sample, to compare."""
    frames = pack([sample.target, sample.reference])
    numbers = tuple(getattr(frames, name).numpy().tobytes() for name in frames.__slots__)
    return sample.person, sample.prompt, sample.attributes, sample.reference_attributes, numbers


def key(person: Person) -> bytes:
    return person.shape.tobytes()


@pytest.mark.parametrize("split", SPLITS)
def test_a_sample_follows_from_its_number(split: str) -> None:
    world = World(seed=3, split=split, people=7)
    order = [5, 0, 40, 3]
    there = [written(world.sample(index)) for index in order]
    back = [written(World(seed=3, split=split, people=7).sample(index)) for index in reversed(order)]
    assert there == back[::-1] and len(set(there)) == len(order)
    assert written(World(seed=4, split=split, people=7).sample(0)) != written(world.sample(0))


def test_people_take_turns() -> None:
    world = World(seed=1, split="validation", people=5)
    for index in (0, 4, 5, 13):
        sample = world.sample(index)
        assert sample.person == index % 5
        assert key(sample.who) == key(world.person(index % 5))
        assert sample.target.person is sample.who and sample.reference.person is sample.who
    assert world.sample(1).prompt != world.sample(6).prompt


def test_more_people_do_not_change_those_there_are() -> None:
    few, many = World(seed=2, split="test", people=3), World(seed=2, split="test", people=300)
    assert [key(few.person(i)) for i in range(3)] == [key(many.person(i)) for i in range(3)]


def test_nobody_is_in_two_splits_or_twice_in_one() -> None:
    shapes = {key(World(seed=0, split=split, people=500).person(i)) for split in SPLITS for i in range(500)}
    assert len(shapes) == 500 * len(SPLITS)


def test_the_photo_is_from_elsewhere(samples: list[Sample]) -> None:
    for sample in samples:
        clip, photo = sample.target, sample.reference
        assert len(photo.motion.pose) == len(photo.motion.expression) == 1
        assert np.abs(photo.motion.pose[0] - clip.motion.pose[0]).sum() >= MIN_TURN - 1e-6
        here, there = sample.attributes, sample.reference_attributes
        assert here.colour != there.colour
        assert (here.light_from, here.light_colour) != (there.light_from, there.light_colour)
        light = np.linalg.norm(np.array(clip.scene.light) - photo.scene.light)
        tint = np.abs(np.array(clip.scene.tint) - photo.scene.tint).max()
        assert light > 0.4 or tint > 0.05
        assert np.abs(np.array(clip.scene.colours[0]) - photo.scene.colours[0]).max() > 0.1


def test_the_photo_has_another_expression(samples: list[Sample]) -> None:
    """By a tenth in one of smile, mouth and brows, from the clip's first frame."""
    for sample in samples:
        off = sample.reference.motion.expression[0] - sample.target.motion.expression[0]
        assert np.abs(off[[0, 1, 3]]).max() >= 0.1


def test_scenes_have_the_attributes(samples: list[Sample]) -> None:
    for sample in samples[:100]:
        for take, attributes in (
            (sample.target, sample.attributes),
            (sample.reference, sample.reference_attributes),
        ):
            x, y, _ = take.scene.light
            np.testing.assert_allclose(np.linalg.norm(take.scene.light), 1, rtol=1e-6)
            side = {"left": x < -0.5, "right": x > 0.5, "above": y > 0.7, "front": max(abs(x), abs(y)) < 0.5}
            assert side[attributes.light_from]
            warmth = take.scene.tint[0] / take.scene.tint[2]
            assert {"warm": warmth > 1.3, "cool": warmth < 0.85, "neutral": 0.94 < warmth < 1.06}[
                attributes.light_colour
            ]
            assert take.scene.background == attributes.background


def test_attributes_of_all_kinds(samples: list[Sample]) -> None:
    for name, values in VALUES.items():
        for attributes in ("attributes", "reference_attributes"):
            assert {getattr(getattr(sample, attributes), name) for sample in samples} == set(values)


def test_prompts_do_not_say_who(samples: list[Sample]) -> None:
    assert IDENTITY.search("a woman with brown hair") and not IDENTITY.search("a person nods on plain red")
    for sample in samples:
        assert not IDENTITY.search(sample.prompt.lower()), sample.prompt


def test_prompts_name_what_is_there(samples: list[Sample]) -> None:
    for sample in samples:
        named = attributes_in(sample.prompt)
        assert named.items() <= asdict(sample.attributes).items(), sample.prompt
        assert {"motion", "background", "colour"} <= set(named), sample.prompt
    assert len({sample.prompt for sample in samples}) > 490


def test_prompts_do_not_depend_on_who() -> None:
    """With other people in the world, sample 8 is of somebody else and is worded the same."""
    one, other = (World(seed=0, split="train", people=people).sample(8) for people in (3, 5))
    assert key(one.who) != key(other.who)
    assert one.prompt == other.prompt and one.attributes == other.attributes


@pytest.mark.parametrize("num_frames", [2, 9, None])
def test_lengths(num_frames: int | None) -> None:
    options = {} if num_frames is None else {"num_frames": num_frames}
    world = World(seed=0, split="test", people=2, **options)
    assert world.num_frames == (num_frames or NUM_FRAMES) and NUM_FRAMES == 13
    motion = world.sample(0).target.motion
    assert motion.pose.shape == (world.num_frames, 3) and motion.expression.shape == (world.num_frames, 6)


def test_rendered_clips() -> None:
    world = World(seed=0, split="train", people=3, num_frames=9)
    chosen = [world.sample(index) for index in range(3)]
    made = render_clips(chosen, 32)
    assert made.dtype == torch.uint8 and made.shape == (3, 9, 3, 32, 32)
    for clip, sample in zip(made, chosen, strict=True):
        assert torch.equal(clip, render(pack([sample.target]), 32).pictures)
        assert (clip[1:].int() - clip[:-1].int()).abs().sum() > 0


def test_clips_of_two_lengths_are_refused() -> None:
    chosen = [World(seed=0, split="train", people=2, num_frames=frames).sample(0) for frames in (3, 5)]
    with pytest.raises(ValueError):
        render_clips(chosen, 16)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "dev"}, "split is 'dev'; it must be one of train, validation, test, perception, recogniser"),
        ({"people": 0}, "people=0"),
        ({"num_frames": 1}, "num_frames=1"),
    ],
)
def test_refusals(options: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        World(**({"seed": 0, "split": "train", "people": 3} | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("number", [-1, 3])
def test_nobody_has_this_number(number: int) -> None:
    with pytest.raises(ValueError, match=f"person {number} was asked for; there are 3"):
        World(seed=0, split="train", people=3).person(number)
