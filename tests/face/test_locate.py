import numpy as np
import pytest
from PIL import Image

from fantasyid_engine.config.render import RenderConfig
from fantasyid_engine.face.align import align_face, released_size
from fantasyid_engine.face.crop import crop_face, crop_head, square_crop
from fantasyid_engine.face.locate import AVATAR_SCALE, locate, see_faces
from fantasyid_engine.face.retinaface import RetinaFaceDetector
from fantasyid_engine.models.retinaface import RetinaFace
from tests.face.pictures import Picture, avatar, portrait
from tests.face_networks import face_networks, photo

DETECT = RenderConfig()


@pytest.fixture
def retinaface() -> RetinaFace:
    made = face_networks().retinaface
    assert made is not None
    return made


def test_the_picture_is_the_crop() -> None:
    located = locate(portrait(80), "p.png", None, RenderConfig(face="picture", crop_size=32), None)
    assert np.array_equal(located.crop, square_crop(portrait(80), 32))
    assert (located.box, located.detector, located.rung) == (None, None, None)


def test_an_avatar_is_cropped_with_its_hair() -> None:
    located = locate(avatar(200), "p.png", None, RenderConfig(face="avatar", crop_size=64), None)
    assert located.box is not None and located.detector == "avatar detector"
    assert np.array_equal(located.crop, crop_head(avatar(200), located.box, 64, scale=AVATAR_SCALE))


def test_without_retinaface_opencv_looks() -> None:
    located = locate(portrait(), "p.png", None, DETECT, None)
    assert located.box is not None and located.box.landmarks is None
    assert (located.detector, located.rung) == ("haar", "400")
    assert np.array_equal(located.crop, crop_face(portrait(), located.box))


def test_retinaface_aligns(retinaface: RetinaFace) -> None:
    picture = photo().numpy()
    located = locate(picture, "p.png", None, DETECT, retinaface)
    surest = RetinaFaceDetector(retinaface).detect(picture)
    assert located.box in surest and located.box.area == max(face.area for face in surest)
    assert (located.detector, located.rung) == ("retinaface", "203")
    assert np.array_equal(located.crop, align_face(picture, located.box.landmarks or ()))


def enlarged(picture: Picture, factor: int) -> Picture:
    height, width = picture.shape[:2]
    return np.asarray(Image.fromarray(picture).resize((factor * width, factor * height), Image.Resampling.BICUBIC))


def test_a_large_photo_is_reduced_first(retinaface: RetinaFace) -> None:
    """As released, faces are found and cropped at a long side of 1024; boxes are in the photo's own pixels."""
    picture = enlarged(photo().numpy(), 6)
    small = released_size(picture)
    assert small.shape[0] == 1024 < picture.shape[0]
    alone = locate(small, "p.png", 1, DETECT, retinaface)
    located = locate(picture, "p.png", 1, DETECT, retinaface)
    assert alone.box is not None and located.box is not None and located.box.landmarks is not None
    factor = picture.shape[1] / small.shape[1], picture.shape[0] / small.shape[0]
    assert located.box.left == pytest.approx(factor[0] * alone.box.left)
    assert located.box.height == pytest.approx(factor[1] * alone.box.height)
    assert located.box.landmarks[0][0] == pytest.approx(factor[0] * (alone.box.landmarks or ())[0][0])
    assert np.abs(located.crop.astype(int) - alone.crop).max() <= 1


def test_which_of_several(retinaface: RetinaFace) -> None:
    picture = photo().numpy()
    faces = see_faces(picture, "p.png", "detect", retinaface).faces
    assert len(faces) > 2 and faces == sorted(faces, key=lambda face: -face.area)
    assert locate(picture, "p.png", 2, DETECT, retinaface).box == faces[1]
