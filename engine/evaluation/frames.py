"""Frames of a video as the measures take them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.video.read import read_video


def read_frames(path: Path) -> NDArray[np.uint8]:
    """A video or a folder of PNG pictures -> RGB [F, H, W, 3], of 8 bits; raises what `read_video` raises."""
    return eight_bits(read_video(path).frames)


def eight_bits(frames: NDArray[Any]) -> NDArray[np.uint8]:
    """Frames of 8 or 16 bits -> 8 bits; 65535 = 255 * 257."""
    if frames.dtype == np.uint8:
        return frames
    return np.stack([((frame.astype(np.uint32) + 128) // 257).astype(np.uint8) for frame in frames])
