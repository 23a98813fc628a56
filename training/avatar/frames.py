"""Frames to render, as tensors: people, motions and scenes of many clips side by side.

B frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.motion import Motion
from fantasyid_engine.training.avatar.person import RIMS, Person
from fantasyid_engine.training.avatar.scene import Scene

BACKGROUNDS = VALUES["background"]


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One person moving in one scene."""

    person: Person
    motion: Motion
    scene: Scene


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """All that a picture depends on, float32 but for `style`, `beard`, `glasses` and `background` (int64).

    shape [B, 16], expression [B, 6], pose [B, 3]: see `head` and `motion`
    style, beard, glasses, background [B]: places in `STYLES`, `BEARDS`, `RIMS`, `BACKGROUNDS`
    look [B, 20]: colours of skin, eyes, hair, lips and rims, brow's thickness and slope, freckles, blush, lashes
    scene [B, 15]: two colours of the background, its pattern's three numbers, colours of the light and of the clothes
    light [B, 3], camera [B, 3]: zoom, shift right, shift up
    """

    shape: Tensor
    expression: Tensor
    pose: Tensor
    style: Tensor
    beard: Tensor
    glasses: Tensor
    background: Tensor
    look: Tensor
    scene: Tensor
    light: Tensor
    camera: Tensor

    def __len__(self) -> int:
        return len(self.shape)

    def part(self, begin: int, end: int, device: torch.device) -> "Frames":
        """Frames `begin` to `end`, on `device`."""
        return Frames(*(getattr(self, field.name)[begin:end].to(device) for field in fields(self)))


def pack(takes: Sequence[Take]) -> Frames:
    """All frames of all takes, in order."""
    counts = torch.tensor([len(take.motion.pose) for take in takes])
    people, scenes = [take.person for take in takes], [take.scene for take in takes]
    styles = {name: place for place, name in enumerate(STYLES)}

    def each(values: Sequence[object], dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.from_numpy(np.array(values)).to(dtype).repeat_interleave(counts, dim=0)

    return Frames(
        shape=each([p.shape for p in people]),
        expression=torch.from_numpy(np.concatenate([take.motion.expression for take in takes])),
        pose=torch.from_numpy(np.concatenate([take.motion.pose for take in takes])),
        style=each([styles[p.style] for p in people], torch.int64),
        beard=each([BEARDS.index(p.beard) for p in people], torch.int64),
        glasses=each([RIMS.index(p.glasses) for p in people], torch.int64),
        background=each([BACKGROUNDS.index(s.background) for s in scenes], torch.int64),
        look=each(
            [(*p.skin, *p.eyes, *p.hair, *p.lips, *p.rims, *p.brow, p.freckles, p.blush, p.lashes) for p in people]
        ),
        scene=each([(*s.colours[0], *s.colours[1], *s.pattern, *s.tint, *s.clothes) for s in scenes]),
        light=each([s.light for s in scenes]),
        camera=each([(s.zoom, *s.shift) for s in scenes]),
    )
