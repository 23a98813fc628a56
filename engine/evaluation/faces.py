"""The face of a clip, frame by frame, and crops of it.

A frame is looked at strictly; where that shows nothing, leniently, but then a face counts only where a strict look
found one in another frame of the clip: lenient looks see faces in wallpapers. Of several faces the one that lies over
the last frame's is followed, at first the largest.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.face.avatar import overlap
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox, FaceDetector

CROP_SCALE = 1.3
"""Side of a crop for the Frechet distance, in longer sides of the box."""
SAME_PLACE = 0.3
"""Intersection over union from which two boxes are taken for the same face."""


def faces_of_clip(frames: NDArray[np.uint8], detector: FaceDetector) -> tuple[FaceBox | None, ...]:
    """RGB frames [F, H, W, 3] -> the face of each, None where none was found."""
    boxes: list[FaceBox | None] = []
    last: FaceBox | None = None
    for frame in frames:
        found = _follow(detector.detect(frame), last)
        last = found or last
        boxes.append(found)
    sure = [box for box in boxes if box is not None]
    if not sure:
        return tuple(boxes)
    return tuple(box or _where_sure(detector.detect(frames[i], lenient=True), sure) for i, box in enumerate(boxes))


def _follow(found: Sequence[FaceBox], last: FaceBox | None) -> FaceBox | None:
    if last is not None:
        near = [box for box in found if overlap(box, last) > 0]
        if near:
            return max(near, key=lambda box: overlap(box, last))
    return max(found, key=lambda box: box.area, default=None)


def _where_sure(found: Sequence[FaceBox], sure: Sequence[FaceBox]) -> FaceBox | None:
    near = [box for box in found if any(overlap(box, other) >= SAME_PLACE for other in sure)]
    return max(near, key=lambda box: box.area, default=None)


def face_of_picture(picture: NDArray[np.uint8], detector: FaceDetector) -> FaceBox | None:
    """The largest face of an RGB picture [H, W, 3], looked for strictly, then leniently."""
    found = detector.detect(picture) or detector.detect(picture, lenient=True)
    return max(found, key=lambda box: box.area, default=None)


def face_crops(
    frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], boxes: Sequence[FaceBox | None], size: int
) -> NDArray[np.uint8]:
    """RGB pictures [H, W, 3] -> [N, size, size, 3], a crop of each that has a face."""
    pairs = zip(frames, boxes, strict=True)
    crops = [crop_head(frame, box, size, scale=CROP_SCALE) for frame, box in pairs if box is not None]
    return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)
