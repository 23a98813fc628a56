"""Stand-ins for networks, where a test is about what is done with them: a face is a patch of one bright colour.

A person is the colour of a patch; the background of all pictures is dark grey.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.evaluation.clips import Clip
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.evaluation.references import Reference, read_reference
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.video.write import write_video

RED, GREEN, BLUE, ORANGE = (230, 40, 40), (40, 220, 60), (60, 60, 240), (240, 120, 30)
DARK = 40


def patch_picture(
    colour: tuple[int, int, int] | None, left: int = 20, top: int = 16, side: int = 24
) -> NDArray[np.uint8]:
    """64 x 64 of dark grey, with a patch unless the colour is None."""
    picture = np.full((64, 64, 3), DARK, np.uint8)
    if colour is not None:
        picture[top : top + side, left : left + side] = colour
    return picture


@dataclass(frozen=True)
class PatchDetector:
    """Stand-in for a face detector."""

    name: str = "stand-in detector"

    def detect(self, photo: NDArray[np.uint8], *, lenient: bool = False) -> list[FaceBox]:
        rows, columns = np.nonzero(np.ptp(photo, axis=2) > 100)
        if not len(rows):
            return []
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        return [FaceBox(float(columns.min()), float(rows.min()), float(width), float(height), None)]


@dataclass(frozen=True)
class ColourEmbedder:
    """Stand-in for face recogniser and feature network: mean colour, its black level taken off."""

    name: str = "standin"
    crop_size: int = 16

    def embed(self, pictures: Sequence[NDArray[np.uint8]], boxes: Sequence[FaceBox]) -> NDArray[np.float32]:
        found = np.stack([self._colour(picture, box) for picture, box in zip(pictures, boxes, strict=True)])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        return crops.reshape(len(crops), -1, 3).mean(axis=1) / 255

    @staticmethod
    def _colour(picture: NDArray[np.uint8], box: FaceBox) -> NDArray[np.float64]:
        x, y = int(box.left + box.width / 2), int(box.top + box.height / 2)
        return picture[y - 2 : y + 2, x - 2 : x + 2].reshape(-1, 3).mean(axis=0) - 30


@dataclass(frozen=True)
class FixedObserver:
    """Stand-in for an observer: sees the same in every clip."""

    seen: tuple[tuple[str, str], ...]
    name: str = "stand-in observer"

    def attributes(self, frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None]) -> dict[str, str]:
        return dict(self.seen)


def stand_ins(observer: FixedObserver | None = None) -> Instruments:
    return Instruments(PatchDetector(), ColourEmbedder(), ColourEmbedder(), observer)


def write_patches(path: Path, colours: Sequence[tuple[int, int, int] | None], step: int = 0) -> Path:
    """A video, lossless as a folder of pictures, of a patch a frame that moves by `step` pixels."""
    write_video(np.stack([patch_picture(c, left=10 + step * i) for i, c in enumerate(colours)]), path, 8)
    return path


def write_reference(path: Path, colour: tuple[int, int, int]) -> Reference:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(patch_picture(colour)).save(path)
    return read_reference(path)


def clip(path: Path, prompt: str | None = None) -> Clip:
    return Clip(path, prompt, None, None)
