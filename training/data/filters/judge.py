"""What a filter is."""

from typing import Protocol

from fantasyid_engine.training.data.frames import Frames
from fantasyid_engine.training.data.manifest import Clip

SAMPLED = 8
"""Frames of a clip that filters see, evenly spaced from its first to its last."""


class Filter(Protocol):
    """Says of one clip whether it falls out."""

    @property
    def name(self) -> str:
        """What reports call it; different for each filter of a chain."""
        ...

    def judge(self, clip: Clip, frames: Frames) -> str | None:
        """Sampled frames [N, H, W, 3] RGB of a clip -> why it falls out, None if it stays."""
        ...
