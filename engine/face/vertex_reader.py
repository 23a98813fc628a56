"""A real face's vertices, read off the photo: DECA's encoder, then FLAME.

    face         a square of 1.25 (width + height) / 2 of the box, to 224 x 224, black outside the photo: as DECA's own
                 data set cuts what detectors find; 0.12 (width + height) / 2 below the middle of a box with landmarks,
                 which reach to the hairline where OpenCV's begin above the brows
    released     the whole picture squashed to 224 x 224, as the release does it

The paper's form wants the person alone, pose and expression zero; the released form has always had them in.
Source: FantasyID paper, section 3.3; Feng et al. 2021 (DECA), the crop of its data set;
github.com/Fantasy-AMAP/fantasy-id @ c429092, decalib/process_pcd.py.
"""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fantasyid_engine.face.crop import square_part
from fantasyid_engine.face.detect import FaceBox, Photo
from fantasyid_engine.models.deca import SIZE, DecaEncoder
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.models.float32 import float32_island
from fantasyid_engine.request import DecaInput

SCALE, LOWER = 1.25, 0.12
BLACK = (0, 0, 0)


def deca_picture(photo: Photo, box: FaceBox, how: DecaInput) -> Tensor:
    """Photo [H, W, 3] and the face in it -> what `DecaEncoder` takes, [1, 3, S, S] float32."""
    if how == "face":
        mean = (box.width + box.height) / 2
        side, (x, y) = SCALE * mean, box.centre
        y += LOWER * mean if box.landmarks else 0
        picture = square_part(photo, x - side / 2, y - side / 2, side, SIZE, outside=BLACK)
    else:
        picture = np.array(Image.fromarray(photo).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


@torch.inference_mode()
def read_vertices_off(
    picture_13SS: Tensor, deca: DecaEncoder, flame: Flame, change_n: Tensor | None, *, neutral: bool
) -> Tensor:
    """A face as DECA sees it -> its vertices [V, 3], float32, metres.

    Args:
        picture_13SS: see `deca_picture`.
        deca: the encoder.
        flame: the face model, on the encoder's device.
        change_n: added to the shape's coefficients; None for none.
        neutral: pose and expression zero.
    """
    device = flame.template.device
    with float32_island(device):
        code = deca(picture_13SS.to(device))
    shape_Bn = code.shape if change_n is None else code.shape + change_n.to(device)
    return (flame.neutral(shape_Bn) if neutral else flame(shape_Bn, code.expression, code.pose))[0]
