"""The denoising loop."""

from collections.abc import Callable

import torch
from torch import Tensor

from fantasyid_engine.sampling.guidance import Predict
from fantasyid_engine.sampling.solvers import Solver, Step


@torch.inference_mode()
def denoise(
    predict: Predict, solver: Solver, x_BFCHW: Tensor, *, on_step: Callable[[Step, Tensor], None] = lambda step, x: None
) -> Tensor:
    """Noise to clean latents. `on_step` reports progress; raising in it cancels."""
    history = None
    for step in solver:
        prediction = predict(x_BFCHW, step.t)
        x_BFCHW, history = solver.advance(x_BFCHW, prediction, step, history)
        on_step(step, x_BFCHW)
    return x_BFCHW
