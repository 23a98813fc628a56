"""The denoising loop."""

from collections.abc import Callable

import torch
from torch import Tensor

from fantasyid_engine.sampling.guidance import Predict
from fantasyid_engine.sampling.solvers import Solver, Step

OnStep = Callable[[Step, Tensor, Tensor], None]
"""Called after each step with the step, the latents and the solver's history, x0; raising in it cancels."""


@torch.inference_mode()
def denoise(
    predict: Predict,
    solver: Solver,
    x_BFCHW: Tensor,
    *,
    history: Tensor | None = None,
    steps_done: int = 0,
    on_step: OnStep = lambda step, x, history: None,
) -> Tensor:
    """Noise to clean latents. A render that stopped goes on from its latents, history and number of steps done."""
    for step in solver:
        if step.index < steps_done:
            continue
        prediction = predict(x_BFCHW, step.t)
        x_BFCHW, history = solver.advance(x_BFCHW, prediction, step, history)
        on_step(step, x_BFCHW, history)
    return x_BFCHW
