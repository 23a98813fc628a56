"""Solvers of the reverse process: CogVideoX DPM (stochastic, second order) and DDIM, behind one small protocol.

A solver is made for one render and walks its steps; the noise source is an argument, so that whoever owns the seed owns
every draw. Coefficients are float64 numbers; predictions and their history are float32 at least. Latents keep their
dtype: with bfloat16 latents the products with the latents round to bfloat16, as in the release.

When the number of steps does not divide the training timesteps, the timestep that a step leads to, t - T // N, is not
the next one visited. That is the release's way, and kept.

Source: diffusers' CogVideoXDPMScheduler and CogVideoXDDIMScheduler; DPM-Solver++ (Lu et al. 2022), DDIM (Song et al.
2020).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.sampling.schedule import alphas_cumprod, half_log_snr, trailing_timesteps

Noise = Callable[[Tensor], Tensor]
"""Draws standard normal noise of the shape, dtype and device of its argument."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a render: its place, its timestep, and the signal left (A) here, after it, and one step before.

    `alpha_back` is None at the first step. `last` says that the step leads to clean latents.
    """

    index: int
    t: int
    alpha: float
    alpha_next: float
    alpha_back: float | None
    last: bool


class Solver(Protocol):
    """Walks the steps of one render."""

    def __len__(self) -> int:
        """Number of steps."""
        ...

    def __iter__(self) -> Iterator[Step]:
        """The steps in order."""
        ...

    def advance(self, x: Tensor, prediction: Tensor, step: Step, history: Tensor | None) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            x: noisy latents, any float dtype.
            prediction: the network's output for them, same shape, any float dtype; it is lifted to float32.
            step: the step to take.
            history: what the step before returned; None at the first.

        Returns:
            Latents after the step in `x`'s dtype, and the history for the next step: x0, the clean latents as this step
            sees them, float32 at least.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Trajectory:
    """What both solvers share: the schedule, the steps, and the clean latents that a prediction implies.

    Raises ValueError for fewer than 1 or more than `num_train_timesteps` steps.
    """

    config: ScheduleConfig
    num_inference_steps: int

    def __post_init__(self) -> None:
        trailing_timesteps(self.config.num_train_timesteps, self.num_inference_steps)

    def __len__(self) -> int:
        return self.num_inference_steps

    def __iter__(self) -> Iterator[Step]:
        alphas = alphas_cumprod(self.config)
        timesteps = trailing_timesteps(self.config.num_train_timesteps, self.num_inference_steps)
        stride = self.config.num_train_timesteps // self.num_inference_steps
        for i, t in enumerate(timesteps):
            after = t - stride
            yield Step(
                index=i,
                t=t,
                alpha=alphas[t],
                alpha_next=alphas[after] if after >= 0 else 1.0,
                alpha_back=alphas[timesteps[i - 1]] if i else None,
                last=after < 0,
            )

    def clean(self, x: Tensor, prediction: Tensor, alpha: float) -> Tensor:
        """x0 from a v- or epsilon-prediction, in float32 at least."""
        prediction = prediction.to(torch.promote_types(prediction.dtype, torch.float32))
        if self.config.prediction_type == "v_prediction":
            return math.sqrt(alpha) * x - math.sqrt(1 - alpha) * prediction
        return (x - math.sqrt(1 - alpha) * prediction) / math.sqrt(alpha)


@dataclass(frozen=True, slots=True)
class DPMSolver(_Trajectory):
    """CogVideoX DPM: the release's sampler. Draws one noise at the first and last step, two at the others.

    The second-order step uses the second draw: the first belongs to a first-order result that it replaces. Both are
    drawn, so that a seed gives the noise that it gives in the release.
    """

    noise: Noise

    def advance(self, x: Tensor, prediction: Tensor, step: Step, history: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Solver.advance`."""
        x0 = self.clean(x, prediction, step.alpha)
        h = half_log_snr(step.alpha_next) - half_log_snr(step.alpha)
        keep = math.sqrt((1 - step.alpha_next) / (1 - step.alpha)) * math.exp(-h)
        toward = math.expm1(-2 * h) * math.sqrt(step.alpha_next)
        spread = math.sqrt(1 - step.alpha_next) * math.sqrt(1 - math.exp(-2 * h))

        estimate, draw = x0, self.noise(x)
        if history is not None and step.alpha_back is not None and not step.last:
            ratio = (half_log_snr(step.alpha) - half_log_snr(step.alpha_back)) / h
            estimate = (1 + 0.5 / ratio) * x0 - 0.5 / ratio * history
            draw = self.noise(x)
        return (keep * x - toward * estimate + spread * draw).to(x.dtype), x0


@dataclass(frozen=True, slots=True)
class DDIMSolver(_Trajectory):
    """DDIM without noise: deterministic, first order."""

    def advance(self, x: Tensor, prediction: Tensor, step: Step, history: Tensor | None) -> tuple[Tensor, Tensor]:
        """See `Solver.advance`; no step looks at the history."""
        x0 = self.clean(x, prediction, step.alpha)
        keep = math.sqrt((1 - step.alpha_next) / (1 - step.alpha))
        toward = math.sqrt(step.alpha_next) - math.sqrt(step.alpha) * keep
        return (keep * x + toward * x0).to(x.dtype), x0


def make_solver(name: str, config: ScheduleConfig, num_inference_steps: int, noise: Noise) -> Solver:
    """The solver of that name, `dpm` or `ddim`, for one render.

    Raises:
        ValueError: fewer than 1 or more than `num_train_timesteps` steps.
    """
    if name == "dpm":
        return DPMSolver(config, num_inference_steps, noise)
    return DDIMSolver(config, num_inference_steps)
