"""Lines of text by their many strokes, with OpenCV alone: the fallback where PaddleOCR's detector is not installed.

    edges    where the picture changes sharply within 3 x 3 pixels, at a height of 288
    lines    edges joined over gaps of 5 % of the height; what is not wide, low and filled is left out, and so is what
             has too few strokes for its length

Measured on clips that were drawn for it (`tests/training/data/filter_pictures.py`, seed 21): 60 of avatars and 120
still pictures, with subtitles of 4.5 to 9 % of the picture's height and without; judged by `subtitles.Subtitles`.

    found           172 of 180 clips with subtitles, 95.6 % (on a box 60 of 60, with an outline 57, bare 55)
    false alarms    1 of 180 clips without, 0.6 %
    moving signs    2 of 60 clips in which the camera passes signs, 3 %, are taken for subtitled ones

Drawn clips are easier than filmed ones; on real video expect to miss more, faint and ornate letters above all, and
expect fences, blinds and foliage to raise alarms.
"""

from dataclasses import dataclass

import numpy as np

from fantasyid_engine.training.data.filters.subtitles import TextLine
from fantasyid_engine.training.data.frames import Frames

_HEIGHT = 288
_SHARP = 70
"""Levels of grey between the lightest and the darkest of nine pixels."""
_GAP = 0.05
_LOWEST, _HIGHEST, _SHORTEST = 0.025, 0.2, 0.15
"""Heights of text as shares of the picture's, width as a share of its width."""
_WIDE = 2.5
_FILLED = 0.6
_EDGES = (0.2, 0.85)
"""Share of a line's pixels that are edges."""
_STROKES = 1.0
"""Changes from edge to none and back, along a row, for each time the line is as long as it is high."""


@dataclass(frozen=True, slots=True)
class GradientText:
    """A `subtitles.TextDetector`."""

    name: str = "gradients"

    def lines(self, picture: Frames) -> list[TextLine]:
        """See `subtitles.TextDetector`."""
        import cv2

        height, width = picture.shape[:2]
        scale = _HEIGHT / height
        size = max(1, round(width * scale)), _HEIGHT
        smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        grey = cv2.resize(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), size, interpolation=smooth)
        change = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        edges = (change > _SHARP).astype(np.uint8)
        gap = round(_GAP * _HEIGHT)
        joined = cv2.morphologyEx(edges, cv2.MORPH_CLOSE, np.ones((1, gap), np.uint8))
        joined = cv2.morphologyEx(joined, cv2.MORPH_OPEN, np.ones((4, gap // 2), np.uint8))
        _, _, found, _ = cv2.connectedComponentsWithStats(joined)
        return [
            TextLine(left / scale, top / scale, (left + across) / scale, (top + down) / scale)
            for left, top, across, down, area in found[1:].tolist()  # the first is the background
            if _SHORTEST * size[0] <= across
            and _LOWEST * _HEIGHT <= down <= _HIGHEST * _HEIGHT
            and across >= _WIDE * down
            and area >= _FILLED * across * down
            and _is_written(edges[top : top + down, left : left + across])
        ]


def _is_written(edges: Frames) -> bool:
    high, long = edges.shape
    changes = np.abs(np.diff(edges.astype(np.int8), axis=1)).sum(axis=1)
    strokes = np.median(changes[high // 5 : high - high // 5]) * high / long
    return bool(_EDGES[0] <= edges.mean() <= _EDGES[1] and strokes >= _STROKES)
