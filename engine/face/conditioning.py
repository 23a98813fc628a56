"""The face stage: a photo and vertices -> keys and values for every injection, once a request.

    photo -> crop -> bicubic to the tower's size, CLIP's mean and deviation -> tower -> conditioner(features, vertices)

Vertices are the request's; or read off the photo, by a network that can; or the mesh's template, by a model that may.
A change of shape moves the first two.

I injections, K identity tokens, d channels a head.
Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, infer.py.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.errors import InputError
from fantasyid_engine.face.avatar import MIN_HEAD, find_avatars
from fantasyid_engine.face.crop import crop_face, crop_head, square_crop
from fantasyid_engine.face.detect import FaceBox, HaarDetector, Photo, find_faces, pick_face
from fantasyid_engine.face.photo import decode_photo
from fantasyid_engine.face.vertices import decode_vertices
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network

Mode = Literal["detect", "avatar", "picture"]
AVATAR_SCALE = 1.35
"""Side of an avatar's crop, in heads: with hair and shoulders."""
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True, slots=True)
class FaceInput:
    """What a request brings for its face: bytes of the photo and of the vertex file, and what messages call them.

    `shape_change` is added to the shape's coefficients: standard deviations, in the network's order; None changes none.
    """

    photo: bytes
    name: str
    vertices: bytes | None
    vertices_name: str
    index: int | None
    shape_change: tuple[float, ...] | None = None

    @property
    def photo_sha256(self) -> str:
        """Hex digest of the photo's bytes."""
        return hashlib.sha256(self.photo).hexdigest()

    @property
    def vertices_sha256(self) -> str | None:
        """Hex digest of the vertex file's bytes."""
        return None if self.vertices is None else hashlib.sha256(self.vertices).hexdigest()


@dataclass(frozen=True, slots=True)
class FaceCondition:
    """A face as the DiT takes it: `id_kv` [I, 2, 1, heads, K, d].

    `crop` [S, S, 3] is what the networks saw of the photo, `box` where it was found (None: the picture is the crop).
    """

    id_kv: Tensor
    crop: NDArray[np.uint8]
    box: FaceBox | None


@torch.inference_mode()
def condition(
    network: Network, hierarchy: MeshHierarchy, face: FaceInput, *, mode: Mode, crop_size: int, template: bool
) -> FaceCondition:
    """Conditions a network on a face.

    Args:
        network: tower and conditioner.
        hierarchy: the mesh of the vertices.
        face: photo and vertices.
        mode: `RenderConfig.face`: how the face is found.
        crop_size: side of the crop in pixels; faces of `detect` are cropped as the release does.
        template: the mesh's template stands in for vertices that are neither given nor read off the photo.

    Raises:
        InputError: see `decode_photo`, `find_faces`, `find_avatars`, `pick_face` and `decode_vertices`;
            `vertices_missing`.
    """
    photo = decode_photo(face.photo, face.name)
    vertices_V3 = _vertices(network.config, hierarchy, face, template)
    box, crop = _find(photo, face, mode, crop_size)
    weight = network.tower.cls_token
    picture = tower_input(crop, network.config.tower.image_size).to(weight)
    vertices_1V3 = None if vertices_V3 is None else vertices_V3[None].to(weight.device)
    change_1n = None if face.shape_change is None else torch.tensor([face.shape_change], device=weight.device)
    return FaceCondition(network.id_kv(picture, vertices_1V3, change_1n), crop, box)


def _vertices(config: NetworkConfig, hierarchy: MeshHierarchy, face: FaceInput, template: bool) -> Tensor | None:
    """[V, 3] of the request or the template; None where no vertices enter, or the network reads them off the photo."""
    if not config.takes_vertices:
        return None
    if face.vertices is not None:
        return decode_vertices(face.vertices, face.vertices_name, hierarchy)
    if config.shape is not None:
        return None
    if template:
        return hierarchy.template
    raise InputError(
        "vertices_missing",
        f"no vertices for {face.name}: this model needs the face's {hierarchy.levels[0]} vertices in metres as a "
        ".ply (DECA makes them); pass --vertices FILE",
    )


def _find(photo: Photo, face: FaceInput, mode: Mode, size: int) -> tuple[FaceBox | None, Photo]:
    """Where the face is, and what the networks see of it."""
    match mode:
        case "detect":
            box = pick_face(find_faces(HaarDetector(), photo, face.name), face.index, face.name)
            return box, crop_face(photo, box)
        case "avatar":
            box = pick_face(find_avatars(photo, face.name), face.index, face.name, smallest=MIN_HEAD)
            return box, crop_head(photo, box, size, scale=AVATAR_SCALE)
        case "picture":
            return None, square_crop(photo, size)


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
