"""Who an avatar is: embeddings of heads, for measuring and nothing else.

Trained with an ArcFace loss (Deng et al. 2019) by `training.avatar.perception`, on people who are in no other split of
the avatar world; nothing that renders or trains a generator may use it, or the measure would be what is optimised.

N pictures, E numbers an embedding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.models.perception import PictureNet, as_input
from fantasyid_engine.weights.shipped import load_shipped

WEIGHTS = "evaluation/avatar_recogniser.safetensors"
SIDE, SCALE = 64, 1.3
"""Pixels of a crop, and its side in heads."""
BATCH = 64


def make_recogniser() -> PictureNet:
    """The network, with random weights."""
    return PictureNet(widths=(24, 48, 96, 128), hidden=256, out=128)


@dataclass(frozen=True, slots=True)
class AvatarRecogniser:
    """Embeds the heads of avatars, and describes crops of them for the Frechet distance."""

    name: str = "avatar"
    crop_size: int = SIDE

    def embed(self, pictures: Sequence[NDArray[np.uint8]], boxes: Sequence[FaceBox]) -> NDArray[np.float32]:
        """RGB pictures [H, W, 3] and a head in each -> [N, 128], of unit length."""
        crops = [crop_head(picture, box, SIDE, scale=SCALE) for picture, box in zip(pictures, boxes, strict=True)]
        found = _batches(np.stack(crops), pooled=False) if crops else torch.zeros(0, 128)
        return F.normalize(found, dim=1).numpy()

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Crops [N, 64, 64, 3] -> [N, 296]: the mean of every channel of every stage, fine ones first."""
        return _batches(crops, pooled=True).double().numpy()


@lru_cache(maxsize=1)
def _network() -> PictureNet:
    return load_shipped(WEIGHTS, make_recogniser())


@torch.inference_mode()
def _batches(crops: NDArray[np.uint8], *, pooled: bool) -> torch.Tensor:
    network = _network()
    run = network.pooled if pooled else network
    parts = torch.from_numpy(crops).permute(0, 3, 1, 2).split(BATCH)
    return torch.cat([run(as_input(part)) for part in parts])
