"""Where the face of a photo is, and what the networks see of it.

detect     RetinaFace and its five landmarks, aligned as the release does; without its weights OpenCV's cascades
avatar     the head of a rendered avatar
picture    the picture is the crop
"""

from dataclasses import dataclass, replace
from typing import Literal

from fantasyid_engine.config.render import RenderConfig
from fantasyid_engine.face.align import align_face, released_size
from fantasyid_engine.face.avatar import MIN_HEAD, find_avatars
from fantasyid_engine.face.crop import crop_face, crop_head, square_crop
from fantasyid_engine.face.detect import MIN_FACE, FaceBox, Photo, Sighting, find_faces, pick_face
from fantasyid_engine.face.haar import HaarDetector
from fantasyid_engine.face.retinaface import RetinaFaceDetector
from fantasyid_engine.models.retinaface import RetinaFace
from fantasyid_engine.request import Choice

AVATAR_SCALE = 1.35
"""Side of an avatar's crop, in heads: with hair and shoulders."""


@dataclass(frozen=True, slots=True)
class Located:
    """What the networks see of a photo, `crop` [S, S, 3]; where that is (None: all of it), and how it was found."""

    crop: Photo
    box: FaceBox | None
    detector: str | None
    rung: str | None


def see_faces(photo: Photo, name: str, mode: Literal["detect", "avatar"], retinaface: RetinaFace | None) -> Sighting:
    """The faces of a photo [H, W, 3], in its pixels.

    Raises:
        InputError: see `find_faces` and `find_avatars`.
    """
    if mode == "avatar":
        return find_avatars(photo, name)
    if retinaface is None:
        return find_faces(HaarDetector(), photo, name)
    small = released_size(photo)
    found = find_faces(RetinaFaceDetector(retinaface), small, name)
    x, y = (photo.shape[axis] / small.shape[axis] for axis in (1, 0))
    return replace(found, faces=[face.scaled(x, y) for face in found.faces])


def locate(photo: Photo, name: str, choice: Choice, render: RenderConfig, retinaface: RetinaFace | None) -> Located:
    """Finds the face that is meant, and crops it.

    Raises:
        InputError: see `see_faces`, `pick_face` and `align_face`.
    """
    if render.face == "picture":
        return Located(square_crop(photo, render.crop_size), None, None, None)
    found = see_faces(photo, name, render.face, retinaface)
    smallest = MIN_HEAD if render.face == "avatar" else MIN_FACE
    box = pick_face(found, choice, photo, name, smallest=smallest)
    return Located(_crop(photo, name, box, render), box, found.detector, found.rung)


def _crop(photo: Photo, name: str, box: FaceBox, render: RenderConfig) -> Photo:
    if render.face == "avatar":
        return crop_head(photo, box, render.crop_size, scale=AVATAR_SCALE)
    if box.landmarks is None:
        return crop_face(photo, box)
    small = released_size(photo)
    x, y = (small.shape[axis] / photo.shape[axis] for axis in (1, 0))
    return align_face(small, box.scaled(x, y).landmarks or (), name)
