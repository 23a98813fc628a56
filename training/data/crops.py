"""Face crops as training keeps them: what the tower sees at inference, before its mean and deviation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.face.tower_input import resized_crop


def tower_picture(crop: NDArray[np.uint8], size: int) -> Tensor:
    """RGB crop [S, S, 3] -> [3, size, size] uint8."""
    return (resized_crop(crop, size)[0] * 255).round().clamp(0, 255).to(torch.uint8)
