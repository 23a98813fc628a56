"""RetinaFace and DECA with seeded weights, a face model for the small meshes, and small models that have them all."""

from functools import cache
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.deca import DecaEncoder
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.retinaface import RetinaFace
from fantasyid_engine.training.avatar.mesh import avatar_hierarchy
from fantasyid_engine.weights.faces import FaceNetworks, save_faces
from fantasyid_engine.weights.manifest import write_manifest
from tests.face_goldens import face_weight, picture
from tests.goldens import normal
from tests.whole_model import write_released_model

Net = TypeVar("Net", bound=nn.Module)


def photo() -> Tensor:
    """A picture in which RetinaFace with these weights sees faces: [157, 203, 3] uint8."""
    return picture("input.retinaface.203x157", 203, 157).flip(-1)


@cache
def face_networks() -> FaceNetworks:
    """All three; the face model has the vertices of `head_mesh`."""
    return FaceNetworks(_seeded(RetinaFace(), "retinaface"), _seeded(DecaEncoder(), "deca"), small_flame())


@cache
def head_mesh() -> MeshHierarchy:
    """The avatars' head, coarsened as far as the small networks have it."""
    return avatar_hierarchy(MeshConfig(levels=(642, 162, 42), spiral_length=7))


def small_flame() -> Flame:
    """Shaped as FLAME, on the avatars' head: millimetres a direction."""
    template = head_mesh().template.float()
    count = len(template)
    return Flame(
        {
            "template": template,
            "shape_basis": 0.001 * normal("small.shape", count, 3, 100),
            "expression_basis": 0.001 * normal("small.expression", count, 3, 50),
            "pose_basis": 0.001 * normal("small.pose", count, 3, 36),
            "joint_regressor": torch.softmax(normal("small.joints", 5, count), 1),
            "skinning_weights": torch.softmax(2 * normal("small.weights", count, 5), 1),
            "faces": head_mesh().faces,
        }
    )


def write_model_with_faces(folder: Path) -> Path:
    """A small model of the released form in the authors' layout that reads faces by itself."""
    write_released_model(folder, head_mesh())
    save_faces(face_networks(), folder)
    write_manifest(folder)
    return folder


def _seeded(network: Net, name: str) -> Net:
    weights = {key: face_weight(name, key, list(value.shape)) for key, value in network.state_dict().items()}
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)
