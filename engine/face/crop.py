"""The square picture of a face that the networks take.

    side = 1.51 b,   centre = (left + 0.49 b, top + 0.42 b)          b: side of the box

The released pipeline maps five landmarks onto the FFHQ template at 512 x 512 (eyes at (193, 240) and (319, 240), mouth
corners at y = 371). A box has no landmarks, but it has known proportions: in 38 faces with landmarks (dlib's examples)
the eyes lie on a line 0.385 b below its top, 0.36 b apart, and the square that the similarity of all five landmarks
puts on the 512 x 512 pixels is the one above (medians; its side varies by 0.09 b, its centre by 0.02 b). A face's tilt
is left as it is: a box does not show it.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.face.border import BORDER_RGB, Colour, with_border
from fantasyid_engine.face.detect import FaceBox

CROP_SIZE = 512
SIDE = 1.51
CENTRE = (0.49, 0.42)
LANCZOS_RADIUS = 3


def crop_face(photo: NDArray[np.uint8], box: FaceBox) -> NDArray[np.uint8]:
    """Photo [H, W, 3] and a face in it -> [512, 512, 3]; what lies outside the photo gets the border's colour."""
    side = SIDE * (box.width + box.height) / 2
    left, top = box.left + CENTRE[0] * box.width, box.top + CENTRE[1] * box.height
    return square_part(photo, left - side / 2, top - side / 2, side, CROP_SIZE)


def crop_head(photo: NDArray[np.uint8], box: FaceBox, size: int, *, scale: float) -> NDArray[np.uint8]:
    """Photo [H, W, 3] and a whole head in it -> [size, size, 3], a square of `scale` times the box's longer side."""
    side = scale * max(box.width, box.height)
    left, top = box.left + (box.width - side) / 2, box.top + (box.height - side) / 2
    return square_part(photo, left, top, side, size)


def square_crop(photo: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The largest square in the middle of a photo [H, W, 3] -> [size, size, 3]."""
    height, width = photo.shape[:2]
    side = min(height, width)
    return _resized(photo, (width - side) // 2, (height - side) // 2, side, size)


def square_part(
    photo: NDArray[np.uint8], left: float, top: float, side: float, size: int, *, outside: Colour = BORDER_RGB
) -> NDArray[np.uint8]:
    """A square of a photo [H, W, 3], any part of which may lie outside it -> [size, size, 3]."""
    # Pixels beside the square take part in those at its edge.
    beside = math.ceil(LANCZOS_RADIUS * max(1.0, side / size))
    x0, y0 = math.floor(left) - beside, math.floor(top) - beside
    x1, y1 = math.ceil(left + side) + beside, math.ceil(top + side) + beside
    return _resized(with_border(photo, x0, y0, x1, y1, outside), left - x0, top - y0, side, size)


def _resized(photo: NDArray[np.uint8], left: float, top: float, side: float, size: int) -> NDArray[np.uint8]:
    box = (left, top, left + side, top + side)
    return np.array(Image.fromarray(photo).resize((size, size), Image.Resampling.LANCZOS, box=box))
