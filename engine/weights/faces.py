"""The networks that read real faces: optional files of a model folder, each a capability of its own.

    face_encoder/detection_Resnet50_Final.safetensors    RetinaFace: faces and their landmarks
    face_encoder/deca_model.safetensors                  DECA's coarse encoder: a face's parameters
    face_encoder/flame.safetensors                       FLAME: parameters to vertices; else generic_model.pkl

They run in float32 whatever the model's precision, as the release runs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.deca import EXPRESSION, SHAPE, DecaEncoder
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.models.retinaface import RetinaFace
from fantasyid_engine.weights.flame_pickle import flame_from_pickle
from fantasyid_engine.weights.load import match_entries
from fantasyid_engine.weights.shards import read_entries

RETINAFACE = "face_encoder/detection_Resnet50_Final.safetensors"
DECA = "face_encoder/deca_model.safetensors"
FLAME = "face_encoder/flame.safetensors"
FLAME_PICKLE = "face_encoder/generic_model.pkl"
"""Read where there is no `FLAME`: the user's own file as it came."""
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class FaceNetworks:
    """Those that a model has; None for one whose file is not there."""

    retinaface: RetinaFace | None = None
    deca: DecaEncoder | None = None
    flame: Flame | None = None

    def to(self, device: torch.device) -> None:
        """Moves them all."""
        for network in (self.retinaface, self.deca, self.flame):
            if network is not None:
                network.to(device)


def face_files(folder: Path) -> list[Path]:
    """The files of a model folder's face networks that are there."""
    flame = FLAME if (folder / FLAME).is_file() else FLAME_PICKLE
    return [folder / name for name in (RETINAFACE, DECA, flame) if (folder / name).is_file()]


def digests_that_matter(digests: Mapping[str, str], *, kept: bool, given: bool) -> dict[str, str]:
    """Of the digests of a model's files those that a render's frames depend on.

    Args:
        digests: by path in the folder.
        kept: the face was read before: nothing looks at a photo.
        given: the vertices came with the request: nothing reads them off the photo.
    """
    reads_vertices = (DECA, FLAME, FLAME_PICKLE)
    idle = (RETINAFACE, *reads_vertices) if kept else reads_vertices if given else ()
    return {name: digest for name, digest in digests.items() if name not in idle}


def read_faces(folder: Path, device: torch.device, vertices: int | None = None) -> FaceNetworks:
    """Loads the face networks of a model folder.

    Args:
        folder: the model folder.
        device: where they go.
        vertices: of the model's mesh, which FLAME must have; None for any.

    Raises:
        WeightsError: a file is damaged or of another network; FLAME has another number of vertices.
    """
    deca = folder / DECA
    networks = FaceNetworks(
        retinaface=read_retinaface(folder),
        deca=_filled(DecaEncoder, deca) if deca.is_file() else None,
        flame=_read_flame(folder, vertices),
    )
    networks.to(device)
    return networks


def read_retinaface(folder: Path) -> RetinaFace | None:
    """The RetinaFace of a model folder, on the CPU; None where it has none.

    Raises:
        WeightsError: the file is damaged or of another network.
    """
    path = folder / RETINAFACE
    return _filled(RetinaFace, path) if path.is_file() else None


def save_faces(networks: FaceNetworks, folder: Path) -> None:
    """Writes the face networks of a model into its folder."""
    if networks != FaceNetworks():
        (folder / FLAME).parent.mkdir(exist_ok=True)
    for network, name in ((networks.retinaface, RETINAFACE), (networks.deca, DECA)):
        if network is not None:
            save_file(network.state_dict(), folder / name)
    if networks.flame is not None:
        networks.flame.save(folder / FLAME)


def _filled(kind: type[Net], path: Path) -> Net:
    """A network with the weights of `path`, in eval mode, float32, without gradients."""
    with torch.device("meta"):
        network = kind()
    counters = [name for name in network.state_dict() if name.endswith("num_batches_tracked")]
    entries = [entry for entry in read_entries([path]) if entry.key not in counters]
    match_entries(network, entries, lambda entry: entry.key, path, counters)
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    zeros = {name: torch.zeros((), dtype=torch.int64) for name in counters}
    network.load_state_dict(weights | zeros, assign=True)
    return network.eval().requires_grad_(False)


def _read_flame(folder: Path, vertices: int | None) -> Flame | None:
    path = folder / FLAME
    try:
        if path.is_file():
            flame = Flame.load(path)
        elif (path := folder / FLAME_PICKLE).is_file():
            flame = flame_from_pickle(path)
        else:
            return None
    except (ValueError, OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is no face model: {error}") from None
    count, directions = len(flame.template), (flame.shape_basis.shape[-1], flame.expression_basis.shape[-1])
    if vertices not in (None, count):
        raise WeightsError(f"{path} has {count} vertices, this model's mesh {vertices}: it is of another face model")
    if directions != (SHAPE, EXPRESSION):
        raise WeightsError(f"{path} has {directions} directions, DECA reads {SHAPE} and {EXPRESSION}: convert it again")
    return flame
