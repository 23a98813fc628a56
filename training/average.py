"""A moving average of the weights that are trained, and using it in their place."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fantasyid_engine.training.parallel import copy_into, whole


class MovingAverage:
    """Average of `parameters`: after n updates it moves by 1 - min(decay, (1 + n) / (10 + n)) of the way."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self._parameters, self._decay = dict(parameters), decay
        self._average = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        self.updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Takes the parameters as they are now into the average."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        now = [parameter.detach() for parameter in self._parameters.values()]
        get_ema_multi_avg_fn(decay)(list(self._average.values()), now, self.updates)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The parameters are the average inside, and what they were after."""
        kept = {name: parameter.detach().clone() for name, parameter in self._parameters.items()}
        self._fill(self._average)
        try:
            yield
        finally:
            self._fill(kept)

    def state(self) -> dict[str, Tensor]:
        """The average, whole, on the CPU; all processes must ask."""
        return {name: whole(value) for name, value in self._average.items()}

    def restore(self, state: Mapping[str, Tensor], updates: int) -> None:
        """Goes on from what `state` returned after so many updates."""
        self.updates = updates
        for name, value in self._average.items():
            copy_into(value, state[name])

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._parameters.items():
            parameter.detach().copy_(values[name])
