"""Whether a worker can work: its device computes, its model makes a video."""

import logging

import numpy as np
import torch

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import DeviceError
from fantasyid_engine.face.conditioning import Conditioning, FaceRecord
from fantasyid_engine.face.stored import to_bytes
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.weights.model import Model

log = logging.getLogger(__name__)


def check_device(device: torch.device) -> None:
    """Raises DeviceError unless small integers are multiplied right; a context that broke fails everything."""
    numbers = (torch.arange(64 * 64) % 7).reshape(64, 64).float()
    try:
        there = numbers.to(device)
        right = torch.equal((there @ there).cpu(), numbers @ numbers)
    except RuntimeError as error:
        log.error("%s: %s", device, error)
        right = False
    if not right:
        raise DeviceError(f"{device} does not compute any more")


def check_model(engine: Engine) -> None:
    """One step of the shortest video, from a made-up face, so that no photo is needed.

    Raises:
        DeviceError: the device does not compute.
        ConfigError: the model makes no numbers.
        ResourceError: out of memory.
    """
    model = engine.model
    check_device(model.vae.device)
    request = VideoRequest(
        face=made_up_face(model), prompt="a test", seed=0, num_inference_steps=1, num_frames=model.frame_counts[0]
    )
    engine.generate(request)
    engine.forget()


def made_up_face(model: Model) -> bytes:
    """Tokens from a seed, and a grey picture, as `Engine.encode_face` keeps a face."""
    tokens = torch.randn(model.id_tokens_shape, generator=torch.Generator().manual_seed(0))
    side = model.render.crop_size
    record = FaceRecord(
        photo_sha256="0" * 64, vertices_sha256=None, vertices="none", box=None, detector=None, rung=None
    )
    return to_bytes(Conditioning(tokens, np.full((side, side, 3), 128, np.uint8), record), model)
