"""Heads of rendered avatars: the detector for models that know these people and no others.

Boxes are those of whole heads without hair, from chin to crown and ear to ear. The network was trained by
`training.avatar.perception` on people, and on pictures without any, that were all made by code.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face.detect import FaceBox, Photo, Sighting, by_size, find_faces
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.models.perception import HeadFinder, as_input
from fantasyid_engine.weights.shipped import load_shipped

WEIGHTS = "face/avatar_detector.safetensors"
SIDE = 96
"""Pixels of the longer side that the network looks at; heads that fill a quarter of it or more are seen."""
STEP = 16
SURE, SMALLER = 0.55, 0.7
"""Least confidence: at first sight, and for smaller heads, for which there are more places to be wrong about."""
SAME = 0.6
"""Share of the smaller of two boxes from which they are of one head."""
MIN_HEAD = 20
"""Pixels; miniatures make pictures of 64."""


@dataclass(frozen=True, slots=True)
class AvatarDetector:
    """Finds the heads of avatars. `confidence` is a probability; a call is safe from several threads.

    Leniently, the picture is looked at once more at two and at four times the size, for smaller heads.
    """

    name: str = "avatar detector"

    def detect(self, photo: Photo, *, lenient: bool = False) -> list[FaceBox]:
        """See `FaceDetector`."""
        found = _look(photo, SIDE, SURE)
        if lenient:
            found += [box for side in (2 * SIDE, 4 * SIDE) for box in _look(photo, side, SMALLER)]
        found.sort(key=lambda box: -(box.confidence or 0))
        kept: list[FaceBox] = []
        for box in found:
            if all(_shared(box, other) < SAME * min(box.area, other.area) for other in kept):
                kept.append(box)
        return kept


def find_avatars(photo: Photo, name: str) -> Sighting:
    """Avatars in a picture [H, W, 3].

    Raises:
        InputError: `photo_real`, it shows a real face; `face_not_found`, it shows none.
    """
    detector = AvatarDetector()
    found = detector.detect(photo, lenient=True)
    if found:
        return Sighting(by_size(found), detector.name, str(max(photo.shape[:2])))
    name = one_line(name)
    if _shows_a_real_face(photo, name):
        raise InputError(
            "photo_real",
            f"{name} is a real photo, and this model knows avatars: give it a picture of one, as "
            "docs/examples/face.png, or render people with --model fantasyid-5b",
        )
    raise InputError(
        "face_not_found",
        f"no face found in {name} ({detector.name}; tried {max(photo.shape[:2])}, with smaller heads); "
        "use a picture that shows one avatar, upright",
    )


def _shows_a_real_face(photo: Photo, name: str) -> bool:
    try:
        find_faces(HaarDetector(), photo, name)
    except InputError:
        return False
    return True


def overlap(one: FaceBox, other: FaceBox) -> float:
    """Intersection over union."""
    shared = _shared(one, other)
    return shared / (one.area + other.area - shared)


def _shared(one: FaceBox, other: FaceBox) -> float:
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    return max(width, 0.0) * max(height, 0.0)


@lru_cache(maxsize=1)
def _network() -> HeadFinder:
    return load_shipped(WEIGHTS, HeadFinder())


@torch.inference_mode()
def _look(photo: Photo, side: int, threshold: float) -> list[FaceBox]:
    height, width = photo.shape[:2]
    scale = side / max(height, width)
    columns, rows = (max(2 * STEP, round(n * scale / STEP) * STEP) for n in (width, height))
    smooth = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    picture = np.asarray(Image.fromarray(photo).resize((columns, rows), smooth))
    logits, boxes = _network()(as_input(torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]))
    stretch = torch.tensor([width / columns, height / rows] * 2)
    return [
        FaceBox(left, top, right - left, bottom - top, sure)
        for sure, (left, top, right, bottom) in peaks(logits[0], boxes[0] * stretch[:, None, None], threshold)
    ]


def peaks(logits: torch.Tensor, boxes: torch.Tensor, threshold: float) -> list[tuple[float, list[float]]]:
    """Cells that are surer than their neighbours and `threshold`: logits [h, w], boxes [4, h, w] -> (surety, box)."""
    highest = torch.nn.functional.max_pool2d(logits[None], 3, 1, 1)[0]
    sure = logits.sigmoid()
    return [
        (float(sure[row, column]), boxes[:, row, column].tolist())
        for row, column in ((logits == highest) & (sure >= threshold)).nonzero().tolist()
    ]
