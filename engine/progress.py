"""Progress of a render, through one callback: how far it is, what is worth knowing, and where it could go on from."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.sampling.state import RenderState

Stage = Literal["face", "text", "image", "denoise", "decode"]


@dataclass(frozen=True, slots=True)
class Progress:
    """`step` of `steps` of a stage are done; step 0 opens a stage.

    Attributes:
        stage: which part of the render.
        step: steps done.
        steps: steps in all.
        elapsed_s: seconds since the stage began.
        note: something that the user should know now, such as a prompt that was cut.
        state: in `denoise`, gives the state from which the render can go on (copied when called).
        preview: in `denoise`, gives the first frame as it looks so far, RGB [H, W, 3] (decoded when called; to
            be called in the callback).
    """

    stage: Stage
    step: int
    steps: int
    elapsed_s: float
    note: str | None = None
    state: Callable[[], RenderState] | None = None
    preview: Callable[[], NDArray[np.uint8]] | None = None

    @property
    def eta_s(self) -> float | None:
        """Seconds that the rest of the stage takes at the pace so far; None before the first step."""
        return self.elapsed_s / self.step * (self.steps - self.step) if self.step else None


OnProgress = Callable[[Progress], None]
"""Called on the rendering thread; raising `Cancelled` (or anything else) in it stops the render."""


class Watch:
    """Reports one render's progress and measures its stages."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress or (lambda progress: None)
        self._stage: Stage = "face"
        self._steps, self._done, self._began = 1, 0, time.perf_counter()
        self.notes: list[str] = []
        self.durations_s: dict[str, float] = {}

    @contextmanager
    def stage(self, stage: Stage, steps: int = 1) -> Iterator[None]:
        """A stage from its first report to its last."""
        self._stage, self._steps, self._began = stage, steps, time.perf_counter()
        self.step(0)
        yield
        self.durations_s[stage] = time.perf_counter() - self._began
        if self._done < steps:
            self.step(steps)

    def step(
        self,
        done: int,
        state: Callable[[], RenderState] | None = None,
        preview: Callable[[], NDArray[np.uint8]] | None = None,
    ) -> None:
        """Reports that `done` steps of the stage are done."""
        self._done = done
        elapsed_s = time.perf_counter() - self._began
        self._on_progress(Progress(self._stage, done, self._steps, elapsed_s, state=state, preview=preview))

    def note(self, text: str) -> None:
        """Tells something that the user should know, now and with the result."""
        self.notes.append(text)
        elapsed_s = time.perf_counter() - self._began
        self._on_progress(Progress(self._stage, self._done, self._steps, elapsed_s, note=text))
