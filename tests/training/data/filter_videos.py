"""Videos whose frames say their number."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.video.write import write_video

BITS = 12


def write_numbered(path: Path, count: int, *, fps: int = 24, height: int = 32) -> Path:
    """A video of 96 pixels' width; frame n is bars of 8 pixels, black or white by the bits of n."""
    numbers = np.arange(count)[:, None] >> np.arange(BITS) & 1
    bars = np.repeat(numbers * 255, 8, axis=1).astype(np.uint8)
    write_video(np.broadcast_to(bars[:, None, :, None], (count, height, 8 * BITS, 3)).copy(), path, fps)
    return path


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """Those of frames [F, H, W, 3] of any size."""
    width = frames.shape[2] / BITS
    middles = [int((bit + 0.5) * width) for bit in range(BITS)]
    bits = frames.mean(axis=(1, 3))[:, middles] > 127
    return [int(number) for number in bits @ (1 << np.arange(BITS))]
