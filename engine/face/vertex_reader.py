"""A real face's vertices, read off the photo: DECA's encoder, then FLAME.

    face         a square 1.25 times the face, to 224 x 224: what DECA was trained on
    released     the whole picture squashed to 224 x 224, as the release does it

The paper's form wants the person alone, pose and expression zero; the released form has always had them in.
Source: FantasyID paper, section 3.3; Feng et al. 2021 (DECA), the crop of its data set;
github.com/Fantasy-AMAP/fantasy-id @ c429092, decalib/process_pcd.py.
"""

from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox, Photo
from fantasyid_engine.models.deca import SIZE, DecaEncoder
from fantasyid_engine.models.flame import Flame

DecaInput = Literal["face", "released"]
SCALE = 1.25


def deca_picture(photo: Photo, box: FaceBox, how: DecaInput) -> Tensor:
    """Photo [H, W, 3] and the face in it -> what `DecaEncoder` takes, [1, 3, S, S] float32."""
    if how == "face":
        picture = crop_head(photo, box, SIZE, scale=SCALE)
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
    code = deca(picture_13SS.to(device))
    shape_Bn = code.shape if change_n is None else code.shape + change_n.to(device)
    return (flame.neutral(shape_Bn) if neutral else flame(shape_Bn, code.expression, code.pose))[0]
