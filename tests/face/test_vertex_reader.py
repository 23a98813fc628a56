from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.photo import read_photo
from fantasyid_engine.face.vertex_reader import deca_picture, read_vertices_off
from fantasyid_engine.models.deca import DecaEncoder
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.request import DecaInput
from tests.face.pictures import blocks, portrait
from tests.face_networks import face_networks
from tests.goldens import golden, require_reference

PHOTO = portrait(400)
BOX = FaceBox(100, 120, 200, 160, None)


def networks() -> tuple[DecaEncoder, Flame]:
    made = face_networks()
    assert made.deca is not None and made.flame is not None
    return made.deca, made.flame


@pytest.mark.parametrize("landmarks", [False, True])
def test_what_deca_sees_of_a_face(landmarks: bool) -> None:
    """A square of 1.25 times the mean side, about the middle of OpenCV's box, or 0.12 of it below RetinaFace's."""
    lower = 0.12 * 180 if landmarks else 0
    picture = deca_picture(PHOTO, replace(BOX, landmarks=((0, 0),) * 5 if landmarks else None), "face")
    square = (200 - 112.5, 200 + lower - 112.5, 200 + 112.5, 200 + lower + 112.5)
    cut = Image.fromarray(PHOTO).resize((224, 224), Image.Resampling.LANCZOS, box=square)
    seen = (255 * picture[0].permute(1, 2, 0)).round().numpy()
    assert picture.shape == (1, 3, 224, 224) and picture.dtype == torch.float32
    assert np.abs(seen - np.asarray(cut)).max() <= 1


@pytest.mark.reference_data
def test_the_release_squashes_the_whole_photo() -> None:
    newton = read_photo(require_reference() / "faces" / "newton.jpg")
    seen = (255 * deca_picture(newton, BOX, "released")).round().byte()[0]
    assert torch.equal(seen[:, 100], golden("faces/deca")["newton.input_row100"])


def test_outside_the_photo_it_is_black() -> None:
    """As in DECA's own data set, where crops of the release have a grey border."""
    picture = deca_picture(np.full((100, 100, 3), 255, np.uint8), FaceBox(0, 0, 100, 100, None), "face")
    assert picture[..., :16, :].max() < 0.05 and picture[..., 112, 112].min() == 1


@pytest.mark.parametrize("how", get_args(DecaInput))
def test_any_photo_can_be_seen(how: DecaInput) -> None:
    """A face that reaches beyond a photo of a few pixels."""
    picture = deca_picture(blocks(16, 40), FaceBox(-5, -5, 60, 50, None), how)
    assert picture.shape == (1, 3, 224, 224) and picture.min() >= 0 and picture.max() <= 1


def test_who_somebody_is_and_how_somebody_looks() -> None:
    """Neutral is the shape alone; else the pose and the expression that the encoder reads are in."""
    deca, flame = networks()
    picture = deca_picture(PHOTO, BOX, "face")
    with torch.inference_mode():
        code = deca(picture)
        neutral, posed = flame.neutral(code.shape)[0], flame(code.shape, code.expression, code.pose)[0]
    assert torch.equal(read_vertices_off(picture, deca, flame, None, neutral=True), neutral)
    assert torch.equal(read_vertices_off(picture, deca, flame, None, neutral=False), posed)
    assert not torch.allclose(neutral, posed)


def test_a_change_goes_along_the_shapes_directions() -> None:
    deca, flame = networks()
    picture = deca_picture(PHOTO, BOX, "face")
    change = torch.zeros(100)
    change[[3, 7]] = torch.tensor([2.0, -1.0])
    plain, changed = (read_vertices_off(picture, deca, flame, c, neutral=True) for c in (None, change))
    moved = 2 * flame.shape_basis[..., 3] - flame.shape_basis[..., 7]
    assert torch.allclose(changed - plain, moved, atol=1e-6)
