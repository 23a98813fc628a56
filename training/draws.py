"""Everything that chance decides in a run, as functions of (seed, stage, position): so the position is all its state.

A sample's position counts the samples before it in its stage, over all processes. Whoever takes it draws the same for
it, on any number of devices, before or after an interruption.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

_ORDER, _SAMPLE = 0, 1


@lru_cache(maxsize=8)
def order(seed: int, stage: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` samples in an epoch: a permutation [count]."""
    return np.random.default_rng([seed, stage, _ORDER, epoch]).permutation(count)


def index_at(seed: int, stage: int, position: int, count: int) -> int:
    """Which of `count` samples has this position; each comes once an epoch."""
    epoch, place = divmod(position, count)
    return int(order(seed, stage, epoch, count)[place])


def generator_at(seed: int, stage: int, position: int) -> torch.Generator:
    """The generator of everything that is drawn for one sample, on the CPU."""
    state = np.random.SeedSequence([seed, stage, _SAMPLE, position]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def chance(share: float, generator: torch.Generator) -> bool:
    """True in `share` of the draws; takes one draw whatever the share."""
    return torch.rand((), generator=generator).item() < share
