"""The face stage: a photo and vertices -> ID tokens, once a request.

    photo -> crop -> `tower_input` -> tower -> the conditioner's tokens

Vertices are the request's; or read off the photo, by networks that can (DECA and FLAME, or the model's own regressor);
or the mesh's template, by a model that may. A change of shape moves what is read off.

K identity tokens, V vertices.
Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, infer.py.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from fantasyid_engine.errors import InputError
from fantasyid_engine.face.detect import FaceBox, Photo
from fantasyid_engine.face.locate import Located, locate
from fantasyid_engine.face.photo import decode_photo
from fantasyid_engine.face.tower_input import tower_input
from fantasyid_engine.face.vertex_reader import deca_picture, read_vertices_off
from fantasyid_engine.face.vertices import decode_vertices
from fantasyid_engine.request import Choice, DecaInput
from fantasyid_engine.weights.model import Model

VerticesFrom = Literal["request", "photo", "template", "none"]


@dataclass(frozen=True)  # no slots: they would leave `digests` no place to stay
class FaceInput:
    """What a request brings for its face: bytes of the photo and of the vertex file, and what messages call them.

    `choice` is which of several faces, `shape_change` what is added to its shape by the names of `Model.shape_names`,
    in standard deviations (None changes nothing), `deca_input` how DECA sees the photo.
    """

    photo: bytes
    name: str
    vertices: bytes | None
    vertices_name: str
    choice: Choice = None
    shape_change: tuple[float, ...] | None = None
    deca_input: DecaInput = "face"

    @cached_property
    def digests(self) -> dict[str, str]:
        """Hex digests of the bytes of `image` and, where there are any, of `vertices`; computed once."""
        inputs = {"image": self.photo} | ({} if self.vertices is None else {"vertices": self.vertices})
        return {name: hashlib.sha256(data).hexdigest() for name, data in inputs.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord:
    """What a face was read from, and how: `box` None where the picture was the crop, else who found it and where.

    `rung` is the picture of the photo that the detector found it in.
    """

    photo_sha256: str
    vertices_sha256: str | None
    vertices: VerticesFrom
    box: FaceBox | None
    detector: str | None
    rung: str | None


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A face as a model reads it: `id_tokens` [1, K, C] in its precision.

    Of a model that guides by the photo they are [2, K, C]: first what its negative pass sees, the vertices alone.
    `crop` [S, S, 3] is what the networks saw of the photo; None where it was left behind.
    """

    id_tokens: Tensor
    crop: Photo | None
    record: FaceRecord


@torch.inference_mode()
def condition(model: Model, face: FaceInput) -> Conditioning:
    """Reads a face for a model.

    Raises:
        InputError: see `decode_photo`, `locate` and `decode_vertices`; `vertices_missing`, the model can read none off
            the photo.
    """
    photo = decode_photo(face.photo, face.name)
    given_V3, origin = _given_vertices(model, face)
    located = locate(photo, face.name, face.choice, model.render, model.faces.retinaface)
    weight = model.network.tower.cls_token
    change_1n = None if face.shape_change is None else torch.tensor([face.shape_change], device=weight.device)
    vertices_V3 = given_V3
    if model.reads_with_deca(origin):
        vertices_V3, change_1n = _deca_vertices(model, photo, located, face), None
    picture = tower_input(located.crop, model.network.config.tower.image_size).to(weight)
    vertices_1V3 = None if vertices_V3 is None else vertices_V3[None].to(weight.device)
    tokens = model.network.id_tokens(picture, vertices_1V3, change_1n, without_photo=model.render.guides_by_photo)
    digests = face.digests
    record = FaceRecord(
        photo_sha256=digests["image"],
        vertices_sha256=digests.get("vertices"),
        vertices=origin,
        box=located.box,
        detector=located.detector,
        rung=located.rung,
    )
    return Conditioning(tokens, located.crop, record)


def _given_vertices(model: Model, face: FaceInput) -> tuple[Tensor | None, VerticesFrom]:
    """[V, 3] of the request or the template, None where there are none yet; and where they come from."""
    if not model.network.config.takes_vertices:
        return None, "none"
    if face.vertices is not None:
        return decode_vertices(face.vertices, face.vertices_name, model.hierarchy), "request"
    if model.reads_shape:
        return None, "photo"
    if model.render.template_vertices:
        return model.hierarchy.template, "template"
    raise InputError(
        "vertices_missing",
        f"no vertices for {face.name}: this model needs the face's {model.hierarchy.levels[0]} vertices in metres as a "
        ".ply (DECA makes them); pass --vertices FILE, or put DECA and FLAME beside the model "
        "(`fantasyid-engine weights list` says how)",
    )


def _deca_vertices(model: Model, photo: Photo, located: Located, face: FaceInput) -> Tensor:
    deca, flame = model.faces.deca, model.faces.flame
    assert deca is not None and flame is not None, "`Model.reads_shape` says so"
    height, width = photo.shape[:2]
    box = located.box or FaceBox(0, 0, width, height, None)
    try:
        change_n = None if face.shape_change is None else model.change_of_coefficients(face.shape_change)
    except ValueError as error:
        raise InputError("shape_unsupported", f"this model cannot change the shape so: {error}") from None
    neutral = model.network.config.form == "paper"
    return read_vertices_off(deca_picture(photo, box, face.deca_input), deca, flame, change_n, neutral=neutral)
