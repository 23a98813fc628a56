"""Clips as a user's request gives them, and the same without a face.

I injections, K identity tokens, d channels a head.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fantasyid_engine.engine import Engine
from fantasyid_engine.evaluation.frames import eight_bits
from fantasyid_engine.models.network import Network
from fantasyid_engine.request import LARGEST_SEED, VideoRequest
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.proof.people import Subject, Tell, write_clip
from fantasyid_engine.training.proof.report import Settings
from fantasyid_engine.training.validation import vertex_file
from fantasyid_engine.weights.model import Model


def write_rendered(
    engine: Engine, place: Path, row: str, subjects: tuple[Subject, ...], settings: Settings, tell: Tell
) -> None:
    """Renders everybody's prompt with their photo, each with a seed of its own, all other settings the model's."""
    for number, subject in enumerate(subjects):
        vertices = true_vertices(subject) if needs_vertices(engine.model) else None
        seed = settings.seed + number
        frames = rendered(engine, subject, subject.sample.prompt, seed, settings.steps, vertices=vertices)
        write_clip(frames, place, row, subject, engine.model.render.fps)
        tell(f"rendered {row}", number + 1, len(subjects))


def rendered(
    engine: Engine,
    subject: Subject,
    prompt: str,
    seed: int,
    steps: int | None,
    *,
    vertices: bytes | None = None,
    shape: Mapping[str, float] | None = None,
) -> NDArray[np.uint8]:
    """Frames [F, H, W, 3] of one request; raises what `Engine.generate` raises."""
    request = VideoRequest(
        image=subject.photo,
        prompt=prompt,
        seed=seed % (LARGEST_SEED + 1),
        num_inference_steps=steps,
        vertices=vertices,
        shape=shape,
    )
    return eight_bits(engine.generate(request).frames)


def needs_vertices(model: Model) -> bool:
    """Whether a request must bring vertices: the model neither reads them off the photo nor has any for everybody."""
    config = model.network.config
    return config.takes_vertices and config.shape is None and not model.render.template_vertices


def true_vertices(subject: Subject) -> bytes:
    """A person's own vertices, as a PLY."""
    shape = subject.sample.who.shape.astype(np.float64)
    return vertex_file(torch.from_numpy(make_head().vertices(shape)).float())


@contextmanager
def without_identity(network: Network) -> Iterator[None]:
    """Within it every face gives keys and values of zero: `id_kv` [I, 2, 1, heads, K, d] is 0, whoever the photo shows.

    Attention to them is 0 too, so that an injection adds no more than its norm's bias, the same for everybody.
    """

    def nobody(module: nn.Module, arguments: tuple[Any, ...], id_kv: Tensor) -> Tensor:
        return torch.zeros_like(id_kv)

    with ExitStack() as hooks:
        for layer in network.conditioner.key_values:
            hooks.callback(layer.register_forward_hook(nobody).remove)
        yield
