"""What the tower sees of a crop: bicubic to its size, then CLIP's mean and deviation.

    crop [S, S, 3] uint8 -> / 255 -> [1, 3, size, size] from 0 to 1 -> (x - mean) / deviation

Bicubic with a = -0.5 over all pixels that a smaller picture's pixel covers, as Pillow has it. S here is the side of any
square picture.
Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, infer.py; mean and deviation are those of OpenAI's CLIP.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def tower_input(crop: NDArray[np.uint8], size: int) -> Tensor:
    """RGB crop [S, S, 3] -> what `Tower.forward` takes, [1, 3, size, size] float32."""
    return clip_normalised(resized_crop(crop, size))


def resized_crop(crop: NDArray[np.uint8], size: int) -> Tensor:
    """RGB crop [S, S, 3] -> [1, 3, size, size] float32, bicubic, from 0 to 1 but for what overshoots."""
    picture = torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None].float() / 255
    return F.interpolate(picture, size=(size, size), mode="bicubic", align_corners=False, antialias=True)


def clip_normalised(pictures_B3SS: Tensor) -> Tensor:
    """Pictures from 0 to 1 -> by CLIP's mean and deviation."""
    like = {"dtype": pictures_B3SS.dtype, "device": pictures_B3SS.device}
    mean, deviation = (torch.tensor(values, **like)[:, None, None] for values in (CLIP_MEAN, CLIP_DEVIATION))
    return (pictures_B3SS - mean) / deviation
