"""From a DiT and what a request conditions it on to a `predict` for the loop."""

from collections.abc import Collection, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.fused import FusedDiT
from fantasyid_engine.sampling.guidance import Predict, guided, guided_in_turn


@torch.inference_mode()
def dit_predictor(
    dit: DiT | FusedDiT,
    id_kv: Tensor,
    text_BLC: Tensor,
    image_BFCHW: Tensor | None,
    size: tuple[int, int, int],
    scale: float,
    timesteps: Sequence[int],
    guidance: Literal["batched", "in_turn"] = "batched",
    skips: Collection[int] = (),
) -> Predict:
    """A guided `predict` of latents [1, F, C, H, W]; what the steps share is computed here, once.

    Args:
        dit: the denoiser.
        id_kv: keys and values of the face [I, 2, 1, heads, K, d]; or [I, 2, 2, heads, K, d], what goes with the
            negative prompt first.
        text_BLC: text tokens of [negative, prompt], or of the prompt alone, which turns guidance off.
        image_BFCHW: image latents [1, F, C, H, W], or None for text-to-video.
        size: latent frames, height, width.
        scale: guidance scale.
        timesteps: those that the render visits.
        guidance: the two prompts as one batch, or in turn.
        skips: blocks that the negative pass leaves out; the two go in turn then.

    Raises:
        ValueError: a size, text or image latents that the model cannot take.
    """
    embedded = dit.embed(text_BLC, *size, image_BFCHW)
    if len(text_BLC) == 1:
        return partial(dit.predictor(id_kv[:, :, -1:], timesteps), embedded)
    if guidance == "batched" and not skips:
        return guided(partial(dit.predictor(id_kv, timesteps), embedded), scale)
    faces, (negative_text, text) = id_kv.split(1, dim=2), embedded.text.split(1)
    positive = dit.predictor(faces[-1], timesteps)
    negative = positive if len(faces) == 1 and not skips else dit.predictor(faces[0], timesteps, skips)
    return guided_in_turn(
        partial(negative, embedded._replace(text=negative_text)), partial(positive, embedded._replace(text=text)), scale
    )
