"""Samples of the world: a clip with its prompt, and a photo of the same person from another clip.

Everything follows from (seed, split, index): the person, what they do, where, how it is worded, and the photo. People
of different splits are drawn from different streams, so nobody is in two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.evaluation.vocabulary import Attributes
from fantasyid_engine.training.avatar.frames import Take, pack
from fantasyid_engine.training.avatar.motion import Motion, motion_path, reference_pose
from fantasyid_engine.training.avatar.person import Person, draw_person
from fantasyid_engine.training.avatar.prompts import draw_attributes, write_prompt
from fantasyid_engine.training.avatar.render import Rendered, render
from fantasyid_engine.training.avatar.scene import draw_scene

Floats = NDArray[np.float32]
SPLITS = ("train", "validation", "test", "perception", "recogniser")
"""Who is for what: three for generators, one for detector and observer, one for the recogniser."""
NUM_FRAMES, FPS = 13, 8
_PERSON, _SAMPLE = 0, 1
MIN_TURN, MIN_CHANGE = 0.15, 0.1
"""How far the photo is from the clip's first frame: radians over yaw, pitch and roll; of smile, mouth or brows."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One example for training or measuring.

    person      number of `who` within its split
    target      the clip; `attributes` are what its prompt may name
    reference   one frame of `who` from elsewhere: another pose, expression, light and background
                (of `reference_attributes` it shows background and light only)
    """

    person: int
    who: Person
    target: Take
    attributes: Attributes
    prompt: str
    reference: Take
    reference_attributes: Attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A split of the world: so many people, as many samples as are asked for.

    Raises:
        ValueError: no such split, nobody in it, or fewer than two frames.
    """

    seed: int
    split: str
    people: int
    num_frames: int = NUM_FRAMES

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"World: split is {self.split!r}; it must be one of {', '.join(SPLITS)}")
        if self.people < 1 or self.num_frames < 2:
            raise ValueError(f"World: {self.people=} and {self.num_frames=} must be at least 1 and 2")

    def person(self, number: int) -> Person:
        """Who has this number, from 0 to `people` - 1."""
        if not 0 <= number < self.people:
            raise ValueError(f"World: person {number} was asked for; there are {self.people}")
        return draw_person(self._rng(_PERSON, number))

    def sample(self, index: int) -> Sample:
        """Sample `index`, from 0 on without end; people take turns."""
        rng = self._rng(_SAMPLE, index)
        number = index % self.people
        who, attributes = self.person(number), draw_attributes(rng)
        motion = motion_path(attributes.motion, attributes.expression, self.num_frames, rng)
        target = Take(who, motion, draw_scene(attributes, rng))
        prompt = write_prompt(attributes, rng)
        reference, elsewhere = draw_still(target, attributes, rng)
        return Sample(number, who, target, attributes, prompt, reference, elsewhere)

    def _rng(self, kind: int, number: int) -> np.random.Generator:
        # The last entry is never 0: NumPy fills with zeros, and fewer entries would give the same stream.
        return np.random.default_rng([self.seed, SPLITS.index(self.split), kind, number + 1])


def draw_still(target: Take, attributes: Attributes, rng: np.random.Generator) -> tuple[Take, Attributes]:
    """One frame of a clip's person from elsewhere, and what it shows: another light, background, pose, expression."""
    elsewhere = draw_attributes(rng)
    while not _differ(attributes, elsewhere):
        elsewhere = draw_attributes(rng)
    pose, expression = reference_pose(rng)
    while _alike(pose, expression, target.motion):
        pose, expression = reference_pose(rng)
    return Take(target.person, Motion(pose[None], expression[None]), draw_scene(elsewhere, rng)), elsewhere


def _alike(pose: Floats, expression: Floats, motion: Motion) -> bool:
    changed = np.abs(expression - motion.expression[0])[[0, 1, 3]].max()
    return bool(np.abs(pose - motion.pose[0]).sum() < MIN_TURN or changed < MIN_CHANGE)


def _differ(one: Attributes, other: Attributes) -> bool:
    light = (one.light_from, one.light_colour) != (other.light_from, other.light_colour)
    return light and one.colour != other.colour


def render_takes(takes: Sequence[Take], size: int, *, device: torch.device | str = "cpu") -> Rendered:
    """All frames of `takes`, in order: see `render.render`."""
    return render(pack(takes), size, device=device)


def render_clips(samples: Sequence[Sample], size: int, *, device: torch.device | str = "cpu") -> Tensor:
    """Target clips of equal length -> [N, F, 3, S, S] uint8.

    Raises:
        ValueError: their lengths differ.
    """
    lengths = sorted({len(sample.target.motion.pose) for sample in samples})
    if len(lengths) != 1:
        raise ValueError(f"render_clips: clips must be of one length; these have {lengths} frames")
    pictures = render_takes([sample.target for sample in samples], size, device=device).pictures
    return pictures.view(len(samples), -1, *pictures.shape[1:])
