"""The REAL worker with FAULTS PUT IN: words in a prompt say which. For tests.

[oom batched]     the allocator's error from the DiT, for batches of two; in turn it works. That there are such
                  batches, its model's negative pass skips no layers
[oom once]        from the face stage, the first time only
[oom]             from the DiT, always
[boom]            an error that nobody foresaw, from the DiT
[broken]          the same, and the device does not compute any more
[die 30]          kills itself at that step
"""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fantasyid_engine import engine
from fantasyid_engine.errors import DeviceError
from fantasyid_engine.progress import Progress
from fantasyid_engine.sampling.predict import dit_predictor
from fantasyid_engine.server.messages import Render
from fantasyid_engine.server.worker import render
from fantasyid_engine.server.worker.__main__ import main
from fantasyid_engine.server.worker.channel import leave
from fantasyid_engine.server.worker.report import Reporter
from fantasyid_engine.server.worker.self_test import check_device
from fantasyid_engine.weights.model import Model, load_model


class Faults:
    """What is wrong with the render under way."""

    def __init__(self) -> None:
        self.words: set[str] = set()
        self.times = 0

    def __call__(self, word: str) -> bool:
        return word in self.words


faults = Faults()


class FaultyReporter(Reporter):
    """Dies where it is told to."""

    def __init__(self, order: Render, *arguments: Any) -> None:
        super().__init__(order, *arguments)
        faults.words, faults.times = set(re.findall(r"\[([^\]]*)\]", order.settings["prompt"])), 0

    def __call__(self, progress: Progress) -> None:
        super().__call__(progress)
        if faults("oom once") and progress.stage == "face" and progress.step == 0:
            faults.times += 1
            if faults.times == 1:
                raise torch.OutOfMemoryError("CUDA out of memory")
        if progress.stage == "denoise" and faults(f"die {progress.step}"):
            os.kill(os.getpid(), signal.SIGKILL)


def faulty_predictor(*arguments: Any) -> Callable[[Tensor, int], Tensor]:
    predict, guidance = dit_predictor(*arguments), arguments[7]

    def faulty(x: Tensor, t: int) -> Tensor:
        if faults("oom") or (faults("oom batched") and guidance == "batched"):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        if faults("boom") or faults("broken"):
            raise RuntimeError("a secret of the engine")
        return predict(x, t)

    return faulty


def load_batching(*arguments: Any, **options: Any) -> Model:
    model = load_model(*arguments, **options)
    return replace(model, render=replace(model.render, skip_guidance_layers=()))


def check(device: torch.device) -> None:
    if faults("broken"):
        raise DeviceError("this fault was put in: the device does not compute any more")
    check_device(device)


if __name__ == "__main__":
    engine.dit_predictor, render.Reporter, render.check_device = faulty_predictor, FaultyReporter, check
    engine.load_model = load_batching
    leave(main())
