"""Faces and their landmarks by RetinaFace: the detector of the released pipeline.

Strictly, a face is what the network gives more than 0.97, which is what the released pipeline asks for; leniently, more
than 0.8, which is facexlib's own limit. Boxes hold forehead, chin and cheeks, as those of WIDER FACE, its training set.
"""

from dataclasses import dataclass

import torch

from fantasyid_engine.face.detect import FaceBox, Photo
from fantasyid_engine.models.float32 import float32_island
from fantasyid_engine.models.retinaface import RetinaFace, as_input
from fantasyid_engine.models.retinaface_boxes import boxes_in_pixels, points_in_pixels, priors, select

STRICT, LENIENT = 0.97, 0.8


@dataclass(frozen=True, slots=True)
class RetinaFaceDetector:
    """Finds faces with their landmarks. `confidence` is a probability.

    The network runs on its own device and is only read, so a call is safe from several threads.

    Raises:
        ValueError: the network is in training mode, in which a call would change it.
    """

    network: RetinaFace
    name: str = "retinaface"

    def __post_init__(self) -> None:
        if self.network.training:
            raise ValueError("RetinaFaceDetector.network is in training mode; it must be in eval mode")

    @torch.inference_mode()
    def detect(self, photo: Photo, *, lenient: bool = False) -> list[FaceBox]:
        """See `FaceDetector`: all faces with their landmarks, the surest first."""
        height, width = photo.shape[:2]
        device = self.network.body.conv1.weight.device
        with float32_island(device):
            box_BN4, class_BN2, point_BN10 = self.network(as_input(photo).to(device))
        prior_N4 = priors(height, width).to(device)
        box_N4 = boxes_in_pixels(box_BN4[0], prior_N4, height, width).cpu()
        point_N52 = points_in_pixels(point_BN10[0], prior_N4, height, width).cpu()
        score_N = class_BN2[0, :, 1].cpu()
        faces = []
        for row in select(box_N4, score_N, LENIENT if lenient else STRICT).tolist():
            left, top, right, bottom = box_N4[row].tolist()
            landmarks = tuple((x, y) for x, y in point_N52[row].tolist())
            faces.append(FaceBox(left, top, right - left, bottom - top, score_N[row].item(), landmarks))
        return faces
