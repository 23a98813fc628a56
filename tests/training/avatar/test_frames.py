"""Takes become tensors: every number at the place that is written down for it."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.training.avatar.frames import BACKGROUNDS, Frames, Take, pack
from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.motion import motion_path
from fantasyid_engine.training.avatar.person import RIMS, draw_person
from fantasyid_engine.training.avatar.prompts import draw_attributes
from fantasyid_engine.training.avatar.scene import draw_scene

LENGTHS = (3, 2, 5)
WIDTHS = {"shape": 16, "expression": 6, "pose": 3, "look": 20, "scene": 15, "light": 3, "camera": 3}
PLACES = ("style", "beard", "glasses", "background")


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    rng, made = np.random.default_rng(0), []
    for length in LENGTHS:
        attributes = draw_attributes(rng)
        motion = motion_path(attributes.motion, attributes.expression, length, rng)
        made.append(Take(draw_person(rng), motion, draw_scene(attributes, rng)))
    return made


def test_shapes_and_dtypes(takes: list[Take]) -> None:
    frames = pack(takes)
    assert len(frames) == sum(LENGTHS) and {field.name for field in fields(Frames)} == {*WIDTHS, *PLACES}
    for name, width in WIDTHS.items():
        value = getattr(frames, name)
        assert value.dtype == torch.float32 and value.shape == (len(frames), width), name
    for name in PLACES:
        value = getattr(frames, name)
        assert value.dtype == torch.int64 and value.shape == (len(frames),), name


def test_every_frame_of_every_take_in_order(takes: list[Take]) -> None:
    frames, at = pack(takes), 0
    for take, length in zip(takes, LENGTHS, strict=True):
        who, scene = take.person, take.scene
        look = [*who.skin, *who.eyes, *who.hair, *who.lips, *who.rims, *who.brow, who.freckles, who.blush, who.lashes]
        around = [*scene.colours[0], *scene.colours[1], *scene.pattern, *scene.tint, *scene.clothes]
        for number in range(length):
            expected = {
                "shape": who.shape,
                "expression": take.motion.expression[number],
                "pose": take.motion.pose[number],
                "look": look,
                "scene": around,
                "light": scene.light,
                "camera": [scene.zoom, *scene.shift],
            }
            for name, values in expected.items():
                np.testing.assert_allclose(getattr(frames, name)[at].numpy(), values, rtol=1e-6, err_msg=name)
            assert list(STYLES)[frames.style[at]] == who.style and BEARDS[frames.beard[at]] == who.beard
            assert RIMS[frames.glasses[at]] == who.glasses
            assert BACKGROUNDS[frames.background[at]] == scene.background
            at += 1
    assert at == len(frames)


def test_backgrounds_are_the_vocabularys() -> None:
    assert VALUES["background"] == BACKGROUNDS


def test_a_part_is_those_frames(takes: list[Take]) -> None:
    frames = pack(takes)
    part = frames.part(2, 6, torch.device("cpu"))
    assert len(part) == 4 and len(frames.part(8, 99, torch.device("cpu"))) == 2
    for field in fields(Frames):
        assert torch.equal(getattr(part, field.name), getattr(frames, field.name)[2:6])
