"""What the DiT is asked to predict: noise (the paper's eq. 1) or velocity (its base, CogVideoX).

    z_t = sqrt(A_t) z + sqrt(1 - A_t) eps
    epsilon        eps
    v_prediction   v = sqrt(A_t) eps - sqrt(1 - A_t) z

Either gives the same z back (see `sampling.solvers`), but at A = 0, zero terminal SNR, only v does: there z_t is noise
alone, and its noise says nothing of z. The loss is the mean squared error of the prediction; in v it weighs the error
of z by 1 / (1 - A_t), as CogVideoX does.

B batch, F latent frames, C channels, H W latent height / width.
Source: FantasyID paper, section 3.1; Salimans and Ho 2022 (v); CogVideoX (Yang et al. 2024).
"""

from typing import Literal

import torch
from torch import Tensor

Prediction = Literal["v_prediction", "epsilon"]


def noised(z_BFCHW: Tensor, noise_BFCHW: Tensor, alpha_B: Tensor) -> Tensor:
    """Latents and noise -> z_t; `alpha_B` is A_t of each sample."""
    signal, spread = _roots(alpha_B, z_BFCHW)
    return signal * z_BFCHW + spread * noise_BFCHW


def target(prediction: Prediction, z_BFCHW: Tensor, noise_BFCHW: Tensor, alpha_B: Tensor) -> Tensor:
    """What the network should say of `noised` latents, in their shape."""
    if prediction == "epsilon":
        return noise_BFCHW
    signal, spread = _roots(alpha_B, z_BFCHW)
    return signal * noise_BFCHW - spread * z_BFCHW


def _roots(alpha_B: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    shape = (-1,) + (1,) * (like.ndim - 1)
    alpha = alpha_B.to(like).view(shape)
    return torch.sqrt(alpha), torch.sqrt(1 - alpha)
