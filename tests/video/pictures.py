"""Frames to write, and how near two videos are."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRIMARIES = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255], [255, 255, 255], [0, 0, 0]],
    np.uint8,
)


def moving(frames: int = 9, height: int = 64, width: int = 96) -> NDArray[np.uint8]:
    """A smooth picture that moves, every channel another way."""
    time, row, column = np.mgrid[:frames, :height, :width]
    red = np.sin((column + 2 * time) / 17)
    green = np.cos((row - time) / 13)
    blue = np.sin((row + column + 3 * time) / 23)
    return np.rint(128 + 100 * np.stack([red, green, blue], axis=-1)).astype(np.uint8)


def noise(frames: int = 3, height: int = 32, width: int = 48, dtype: Any = np.uint8) -> NDArray[Any]:
    """Every value of `dtype`; nothing that a codec could make small."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (frames, height, width, 3), dtype, endpoint=True)


def bars(size: int = 32) -> NDArray[np.uint8]:
    """One frame with a square of each colour of `PRIMARIES`, side by side."""
    return np.broadcast_to(PRIMARIES.repeat(size, axis=0), (1, size, size * len(PRIMARIES), 3)).copy()


def psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Peak signal to noise of 8-bit videos, in dB."""
    return 10 * math.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))
