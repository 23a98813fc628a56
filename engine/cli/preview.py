"""A picture on a terminal, in half blocks: a character is two pixels, its own colour and the one behind it."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.color import Color
from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

COLUMNS, ROWS = 64, 16
"""Characters that a picture takes at most."""
UPPER_HALF = "\u2580"


def can_draw(console: Console) -> bool:
    """Whether it shows colours and half blocks."""
    return console.color_system is not None and not console.no_color and not console.options.ascii_only


def half_blocks(picture: NDArray[np.uint8]) -> Segments:
    """RGB [H, W, 3] -> what rich prints as lines, in its proportions; a large picture is made smaller, by area."""
    height, width = picture.shape[:2]
    scale = min(1, COLUMNS / width, 2 * ROWS / height)
    columns, rows = max(1, round(scale * width)), max(1, round(scale * height / 2))
    small = np.asarray(Image.fromarray(picture).resize((columns, 2 * rows), Image.Resampling.BOX))
    segments: list[Segment] = []
    for upper, lower in zip(small[::2].tolist(), small[1::2].tolist(), strict=True):
        for above, behind in zip(upper, lower, strict=True):
            style = Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*behind))
            segments.append(Segment(UPPER_HALF, style))
        segments.append(Segment.line())
    return Segments(segments)
