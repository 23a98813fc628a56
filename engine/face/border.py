"""What lies outside a photo: the constant colour that the released pipeline fills crops with (135, 133, 132 in BGR)."""

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
BORDER_RGB: Colour = (132, 133, 135)


def with_border(
    photo: NDArray[np.uint8], left: int, top: int, right: int, bottom: int, outside: Colour = BORDER_RGB
) -> NDArray[np.uint8]:
    """The part [top:bottom, left:right] of a photo [H, W, 3], of which any side may lie outside it."""
    height, width = photo.shape[:2]
    part = np.empty((bottom - top, right - left, 3), np.uint8)
    part[:] = outside
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x0 < x1 and y0 < y1:
        part[y0 - top : y1 - top, x0 - left : x1 - left] = photo[y0:y1, x0:x1]
    return part
