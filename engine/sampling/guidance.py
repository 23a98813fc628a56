"""Classifier-free guidance as wrappers: a `predict` over a batch [negative, positive], or two -> a guided prediction.

    v = u + guidance_scale * (c - u)        in float32

Source: Ho and Salimans 2022.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Predict = Callable[[Tensor, int], Tensor]
"""Noisy latents [B, F, C, H, W] and timestep -> prediction of the same shape."""


def guided(predict: Predict, guidance_scale: float) -> Predict:
    """Latents [1, F, C, H, W] -> guided prediction [1, F, C, H, W] float32.

    `predict` is called with the latents twice along the batch, and must know its first half as negative prompt.
    """

    def predict_guided(x_BFCHW: Tensor, t: int) -> Tensor:
        negative, positive = predict(torch.cat([x_BFCHW, x_BFCHW]), t).float().chunk(2)
        return _guide(negative, positive, guidance_scale)

    return predict_guided


def guided_in_turn(negative: Predict, positive: Predict, guidance_scale: float) -> Predict:
    """The same of two that are called one after the other: half the memory, more time."""

    def predict_guided(x_BFCHW: Tensor, t: int) -> Tensor:
        return _guide(negative(x_BFCHW, t).float(), positive(x_BFCHW, t).float(), guidance_scale)

    return predict_guided


def _guide(u_BFCHW: Tensor, c_BFCHW: Tensor, guidance_scale: float) -> Tensor:
    return u_BFCHW + guidance_scale * (c_BFCHW - u_BFCHW)
