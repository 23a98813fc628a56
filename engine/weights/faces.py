"""The networks that read real faces: optional files of a model folder, each a capability of its own.

    face_encoder/detection_Resnet50_Final.safetensors    RetinaFace: faces and their landmarks
    face_encoder/deca_model.safetensors                  DECA's coarse encoder: a face's parameters
    face_encoder/flame.safetensors                       FLAME: parameters to vertices

They run in float32 whatever the model's precision, as the release runs them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.deca import DecaEncoder
from fantasyid_engine.models.flame import Flame
from fantasyid_engine.models.retinaface import RetinaFace
from fantasyid_engine.weights.load import match_entries
from fantasyid_engine.weights.shards import read_entries

FOLDER = "face_encoder"
RETINAFACE, DECA, FLAME = "detection_Resnet50_Final.safetensors", "deca_model.safetensors", "flame.safetensors"
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
    paths = [folder / FOLDER / name for name in (RETINAFACE, DECA, FLAME)]
    return [path for path in paths if path.is_file()]


def read_faces(folder: Path, device: torch.device, vertices: int | None = None) -> FaceNetworks:
    """Loads the face networks of a model folder.

    Args:
        folder: the model folder.
        device: where they go.
        vertices: of the model's mesh, which FLAME must have; None for any.

    Raises:
        WeightsError: a file is damaged or of another network; FLAME has another number of vertices.
    """
    deca, flame = (folder / FOLDER / name for name in (DECA, FLAME))
    networks = FaceNetworks(
        retinaface=read_retinaface(folder),
        deca=_filled(DecaEncoder, deca) if deca.is_file() else None,
        flame=_read_flame(flame, vertices) if flame.is_file() else None,
    )
    networks.to(device)
    return networks


def read_retinaface(folder: Path) -> RetinaFace | None:
    """The RetinaFace of a model folder, on the CPU; None where it has none.

    Raises:
        WeightsError: the file is damaged or of another network.
    """
    path = folder / FOLDER / RETINAFACE
    return _filled(RetinaFace, path) if path.is_file() else None


def save_faces(networks: FaceNetworks, folder: Path) -> None:
    """Writes the face networks of a model into its folder."""
    if networks != FaceNetworks():
        (folder / FOLDER).mkdir(exist_ok=True)
    for network, name in ((networks.retinaface, RETINAFACE), (networks.deca, DECA)):
        if network is not None:
            save_file(network.state_dict(), folder / FOLDER / name)
    if networks.flame is not None:
        networks.flame.save(folder / FOLDER / FLAME)


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


def _read_flame(path: Path, vertices: int | None) -> Flame:
    try:
        flame = Flame.load(path)
    except (ValueError, OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is no face model: {error}") from None
    count = len(flame.template)
    if vertices not in (None, count):
        raise WeightsError(f"{path} has {count} vertices, this model's mesh {vertices}: it is of another face model")
    return flame
