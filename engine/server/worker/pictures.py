"""Pictures of a video beside the video: a preview while it is made, its first frame, all its frames in a grid.

Frames are RGB [H, W, 3], or [F, H, W, 3], uint8 or uint16; each file is whole or not there.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.atomic import atomic_file

PREVIEW_SIDE = 512
"""Pixels of a preview's or a thumbnail's longer side, at most."""
SHEET_WIDTH = 1280
"""Pixels of a sprite sheet's width, at most."""


def save_preview(frame: NDArray[Any], path: Path) -> None:
    """A small JPEG; raises OutputError where it cannot be written."""
    _save(_fitted(frame, PREVIEW_SIDE), path, "JPEG", quality=75)


def save_thumbnail(frames: NDArray[Any], path: Path) -> None:
    """The first frame as WebP; raises OutputError."""
    _save(_fitted(frames[0], PREVIEW_SIDE), path, "WEBP", quality=80)


def save_spritesheet(frames: NDArray[Any], path: Path) -> None:
    """All frames, row by row, in a grid that is about as wide as high in frames, as JPEG; raises OutputError."""
    columns = math.ceil(math.sqrt(len(frames)))
    rows = math.ceil(len(frames) / columns)
    height, width = frames.shape[1:3]
    scale = min(1.0, SHEET_WIDTH / (columns * width))
    width, height = max(1, int(width * scale)), max(1, int(height * scale))
    sheet = Image.new("RGB", (columns * width, rows * height))
    for index, frame in enumerate(frames):
        row, column = divmod(index, columns)
        sheet.paste(_picture(frame).resize((width, height), Image.Resampling.BOX), (column * width, row * height))
    _save(sheet, path, "JPEG", quality=80)


def _fitted(frame: NDArray[Any], side: int) -> Image.Image:
    picture = _picture(frame)
    picture.thumbnail((side, side), Image.Resampling.BOX)
    return picture


def _picture(frame: NDArray[Any]) -> Image.Image:
    return Image.fromarray(frame if frame.dtype == np.uint8 else (frame >> 8).astype(np.uint8))


def _save(picture: Image.Image, path: Path, form: str, *, quality: int) -> None:
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        picture.save(file, form, quality=quality)
