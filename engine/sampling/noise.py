"""Every random number of a render, from one seed.

Noise is drawn on the CPU in float32 and then moved, so that a seed gives the same noise on any device and any number of
ranks. The order is part of the result: VAE posterior of the photo (image-to-video only), initial latents, then the
solver's draws step by step.
"""

import torch
from torch import Tensor


class SeededNoise:
    """The noise source of one render; see `solvers.Noise`."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)

    def __call__(self, like: Tensor) -> Tensor:
        """Standard normal noise of the shape, dtype and device of `like`."""
        return torch.randn(like.shape, generator=self._generator, dtype=torch.float32).to(like)

    def state(self) -> Tensor:
        """Where the source stands, uint8."""
        return self._generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Goes on from what `state` returned.

        Raises:
            RuntimeError: it is no state of a CPU generator.
        """
        self._generator.set_state(state)
