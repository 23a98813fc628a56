"""How much a face moves: the mean magnitude of dense optical flow over it.

    FM = mean over pairs of frames, mean over the face's pixels of  |flow|

One square is cut for a whole clip, around all boxes of its face with a margin, and brought to 224 x 224 pixels: a
camera that follows no one keeps the head's motion in, and resolution falls out. Flow is Farneback's (2003), between
each frame and the next; the mean is over pixels inside the face's box in either frame. **Unit: pixels of that 224-pixel
square per frame.** The paper gives no unit, so compare numbers of one tool only; a frame rate or a resolution of the
face that differs between methods changes them too. Farneback's flow is damped where a picture has no edges: plain skin
counts for little, and a blurred face seems to move less than a sharp one.

F frames. Source: paper, section 4.1 "Evaluation Metrics".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox

SIDE = 224
MARGIN = 1.25
"""Side of the square, in longer sides of what all boxes cover."""
BORDER = 32
"""Reflected around the square, for Farneback's flow is never 0 at a picture's own edge."""


def face_motion(frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None]) -> tuple[float | None, ...]:
    """RGB frames [F, H, W, 3] and the face in each -> F - 1 means; None where either frame has no face.

    Exactly 0 between two frames whose squares are alike.
    """
    known = [box for box in boxes if box is not None]
    if len(boxes) < 2 or not known:
        return (None,) * max(0, len(boxes) - 1)
    around = covering(known)
    squares = [None if box is None else _grey(frames[index], around) for index, box in enumerate(boxes)]
    found: list[float | None] = []
    for index in range(len(boxes) - 1):
        one, other = squares[index], squares[index + 1]
        if one is None or other is None:
            found.append(None)
        else:
            mask = _inside(around, boxes[index]) | _inside(around, boxes[index + 1])
            found.append(float(_magnitude(one, other)[mask].mean()))
    return tuple(found)


def covering(boxes: Sequence[FaceBox]) -> FaceBox:
    """The smallest box around all."""
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right = max(box.left + box.width for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    return FaceBox(left, top, right - left, bottom - top, None)


def _grey(frame: NDArray[np.uint8], around: FaceBox) -> Any:
    import cv2

    return cv2.cvtColor(crop_head(frame, around, SIDE, scale=MARGIN), cv2.COLOR_RGB2GRAY)


def _magnitude(one: Any, other: Any) -> NDArray[np.float64]:
    """Grey squares [224, 224] -> length of the flow at each pixel."""
    import cv2

    if np.array_equal(one, other):
        return np.zeros((SIDE, SIDE))
    before, after = (
        cv2.copyMakeBorder(p, BORDER, BORDER, BORDER, BORDER, cv2.BORDER_REFLECT_101) for p in (one, other)
    )
    # Scale 0.5, 3 levels, window 15, 3 iterations, neighbourhood 5 with sigma 1.2: as OpenCV's own example has it.
    start: Any = None
    flow = cv2.calcOpticalFlowFarneback(before, after, start, 0.5, 3, 15, 3, 5, 1.2, 0)
    x, y = flow[BORDER:-BORDER, BORDER:-BORDER].astype(np.float64).transpose(2, 0, 1)
    return np.hypot(x, y)


def _inside(around: FaceBox, box: FaceBox | None) -> NDArray[np.bool_]:
    """Pixels of the square [224, 224] that a box covers; at least one."""
    mask = np.zeros((SIDE, SIDE), bool)
    if box is not None:
        side = MARGIN * max(around.width, around.height)
        x0, y0 = around.left + (around.width - side) / 2, around.top + (around.height - side) / 2
        left, right = (round((x - x0) / side * SIDE) for x in (box.left, box.left + box.width))
        top, bottom = (round((y - y0) / side * SIDE) for y in (box.top, box.top + box.height))
        mask[top : max(bottom, top + 1), left : max(right, left + 1)] = True
    return mask
