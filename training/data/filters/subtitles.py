"""Clips with subtitles fall out: text that stays in its place at the bottom or the top of the picture.

A text line counts where its middle is in the lowest 35 % or the highest 20 % of the picture. It stays if lines overlap
it in at least three of the sampled frames, by half of the shorter one's width and by 60 % of the lower one's height;
the words need not be the same. So a sign that the camera passes does not count, a ticker does, and so does a sign at
the bottom of a picture that does not move: rather one clip too many falls out than that a model learns to write.

Source: subtitles are excluded as in the paper, section 4.1, which has every video with subtitles dropped by PaddleOCR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fantasyid_engine.training.data.frames import Frames
from fantasyid_engine.training.data.manifest import Clip

BOTTOM, TOP = 0.65, 0.2
"""Shares of the picture's height that text must be below or above."""
STAYS = 3
"""Frames of a clip in which text is in one place."""
SAME_PLACE, SAME_LINE = 0.5, 0.3
"""Least overlap of two text lines in one place, as a share of the shorter one's width; most distance of their middles,
as a share of the lower one's height."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """Where a line of text is, in pixels of the picture."""

    left: float
    top: float
    right: float
    bottom: float


class TextDetector(Protocol):
    """Finds lines of text."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def lines(self, picture: Frames) -> list[TextLine]:
        """Lines of text in an RGB picture [H, W, 3] uint8."""
        ...


@dataclass(frozen=True, slots=True)
class Subtitles:
    """A `judge.Filter`."""

    detector: TextDetector

    @property
    def name(self) -> str:
        """With that of its detector."""
        return f"subtitles ({self.detector.name})"

    def judge(self, clip: Clip, frames: Frames) -> str | None:
        """See `judge.Filter`."""
        height = frames.shape[1]
        found = [[line for line in self.detector.lines(frame) if _at_the_edge(line, height)] for frame in frames]
        line, count = _steadiest(found)
        if line is None or count < STAYS:
            return None
        place = "top" if line.top + line.bottom < height else "bottom"
        return f"text at the {place} in {count} of {len(frames)} frames"


def _at_the_edge(line: TextLine, height: int) -> bool:
    middle = (line.top + line.bottom) / 2
    return middle > BOTTOM * height or middle < TOP * height


def _steadiest(found: Sequence[Sequence[TextLine]]) -> tuple[TextLine | None, int]:
    """The line of any frame that has one in its place in most frames, and their number."""
    best, most = None, 0
    for lines in found:
        for line in lines:
            count = sum(any(_one_place(line, other) for other in others) for others in found)
            if count > most:
                best, most = line, count
    return best, most


def _one_place(one: TextLine, other: TextLine) -> bool:
    across = min(one.right, other.right) - max(one.left, other.left)
    narrow = min(one.right - one.left, other.right - other.left)
    apart = abs(one.top + one.bottom - other.top - other.bottom) / 2
    low = min(one.bottom - one.top, other.bottom - other.top)
    return across >= SAME_PLACE * narrow and apart <= SAME_LINE * low
