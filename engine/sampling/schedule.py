"""Noise schedule: how much signal is left at each training timestep, and which timesteps a render visits.

    z_t = sqrt(A_t) z + sqrt(1 - A_t) eps;    lambda(A) = log(A / (1 - A)) / 2

CogVideoX: scaled-linear betas, optional shift of the signal-to-noise ratio, rescaled so that A_999 = 0 exactly,
trailing timesteps. All in float64.

Source: CogVideoX (Yang et al. 2024); Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed",
algorithm 1.
"""

import math

import torch

from fantasyid_engine.config.render import ScheduleConfig


def alphas_cumprod(config: ScheduleConfig) -> list[float]:
    """A_t of every training timestep, float64."""
    betas = torch.linspace(
        config.beta_start**0.5, config.beta_end**0.5, config.num_train_timesteps, dtype=torch.float64
    ).square()
    alphas = torch.cumprod(1 - betas, dim=0)
    alphas = alphas / (config.snr_shift_scale + (1 - config.snr_shift_scale) * alphas)
    if config.rescale_betas_zero_snr:
        root = alphas.sqrt()
        first, last = root[0].clone(), root[-1].clone()
        alphas = ((root - last) * (first / (first - last))).square()
    return alphas.tolist()


def trailing_timesteps(num_train_timesteps: int, num_inference_steps: int) -> list[int]:
    """Timesteps of a render, falling: round(T - T k / N) - 1, halves to even.

    Raises:
        ValueError: fewer than 1 or more than `num_train_timesteps` steps.
    """
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ValueError(f"num_inference_steps is {num_inference_steps}; it must be 1 to {num_train_timesteps}")
    ratio = num_train_timesteps / num_inference_steps
    return [round(num_train_timesteps - ratio * k) - 1 for k in range(num_inference_steps)]


def half_log_snr(alpha: float) -> float:
    """lambda(A): -inf where nothing but noise is left, +inf where there is none."""
    if alpha <= 0.0:
        return -math.inf
    return math.inf if alpha >= 1.0 else 0.5 * math.log(alpha / (1 - alpha))
