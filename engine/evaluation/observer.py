"""What an avatar clip shows: motion, expression, background and light, as the prompt may have named them.

Two small networks look at each frame: one at the head (pose, expression, gaze as numbers), one at the whole picture
(background and light). A third reads the numbers over time. Trained by `training.avatar.perception`.

F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from fantasyid_engine.evaluation.vocabulary import VALUES
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.models.perception import MotionReader, PictureNet, as_input
from fantasyid_engine.weights.shipped import load_shipped

WEIGHTS = "evaluation/avatar_observer.safetensors"
SIDE, SCALE = 64, 1.15
FRAMES = 13
"""Clips of other lengths are brought to this many frames."""
NUMBERS = 9
"""A frame: yaw, pitch, roll in radians, then the coefficients of expression."""
PICTURE = ("background", "colour", "light_from", "light_colour")
CLIP = ("motion", "expression")


class Observer(nn.Module):
    """The three networks."""

    def __init__(self) -> None:
        super().__init__()
        self.head = PictureNet(widths=(24, 48, 96, 128), hidden=128, out=NUMBERS)
        self.picture = PictureNet(widths=(16, 32, 48, 64), hidden=128, out=sum(len(VALUES[name]) for name in PICTURE))
        self.clip = MotionReader(NUMBERS, sum(len(VALUES[name]) for name in CLIP))


@dataclass(frozen=True, slots=True)
class AvatarObserver:
    """Reads the attributes of an avatar clip."""

    name: str = "avatar observer"

    def attributes(self, frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None]) -> dict[str, str]:
        """Frames [F, H, W, 3] and the head's box in each -> a value for every attribute of the vocabulary.

        Where no head was found, the nearest frame's box stands in; with none at all only background and light are read.
        """
        network = _network()
        with torch.inference_mode():
            whole = torch.from_numpy(np.stack([_shrunk(frame) for frame in frames])).permute(0, 3, 1, 2)
            logits = network.picture(as_input(whole)).log_softmax(1).mean(0)
            read = best(logits[None], PICTURE)[0]
            known = [i for i, box in enumerate(boxes) if box is not None]
            if known:
                nearest = [boxes[min(known, key=lambda k: abs(k - i))] for i in range(len(frames))]
                read |= best(network.clip(self._numbers(frames, nearest)), CLIP)[0]
        return read

    @staticmethod
    def _numbers(frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None]) -> Tensor:
        crops = [crop_head(frame, box, SIDE, scale=SCALE) for frame, box in zip(frames, boxes, strict=True) if box]
        numbers = _network().head(as_input(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)))
        return F.interpolate(numbers.T[None], size=FRAMES, mode="linear", align_corners=True).transpose(1, 2)


def best(logits: Tensor, names: Sequence[str]) -> list[dict[str, str]]:
    """Logits [B, values of all names] -> the likeliest value of each."""
    parts = logits.split([len(VALUES[name]) for name in names], dim=1)
    rows = zip(*(part.argmax(1).tolist() for part in parts), strict=True)
    return [{name: VALUES[name][place] for name, place in zip(names, row, strict=True)} for row in rows]


def _shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE), Image.Resampling.BOX))


@lru_cache(maxsize=1)
def _network() -> Observer:
    return load_shipped(WEIGHTS, Observer())
