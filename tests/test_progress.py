"""Progress: what is reported, in which order, how often, and what it says of the time left."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine import progress as module
from fantasyid_engine.errors import Cancelled
from fantasyid_engine.progress import Progress, Watch
from fantasyid_engine.sampling.state import RenderState


class Seen:
    """Collects reports; `short` has them as (stage, step, steps), notes as their text."""

    def __init__(self) -> None:
        self.reports: list[Progress] = []

    def __call__(self, progress: Progress) -> None:
        self.reports.append(progress)

    @property
    def short(self) -> list[object]:
        return [report.note or (report.stage, report.step, report.steps) for report in self.reports]


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A fake clock, and what makes it go on."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def tick(seconds: float) -> None:
        now[0] += seconds

    return tick


def test_a_render(seen: Seen) -> None:
    watch = Watch(seen)
    watch.note("before")
    with watch.stage("face"):
        pass
    with watch.stage("denoise", 3):
        for done in (1, 2, 3):
            watch.step(done)
            if done == 2:
                watch.note("half-way")
    with watch.stage("decode", 2):
        watch.step(1)
    assert seen.short == [
        "before",
        ("face", 0, 1),
        ("face", 1, 1),
        *(("denoise", step, 3) for step in (0, 1, 2)),
        "half-way",
        ("denoise", 3, 3),
        *(("decode", step, 2) for step in (0, 1, 2)),
    ]
    assert watch.notes == ["before", "half-way"]
    assert list(watch.durations_s) == ["face", "denoise", "decode"]


@pytest.mark.parametrize("reported", [(), (1,), (1, 2, 3, 4), (3, 4), (4,), (1, 2, 1, 2, 3, 4)], ids=str)
def test_the_last_step_is_reported_once(seen: Seen, reported: tuple[int, ...]) -> None:
    """Whether the stage does it or not, and where it goes on from a state or begins anew."""
    watch = Watch(seen)
    with watch.stage("denoise", 4):
        for done in reported:
            watch.step(done)
    assert [report.step for report in seen.reports].count(4) == 1
    assert seen.short[0] == ("denoise", 0, 4) and seen.short[-1] == ("denoise", 4, 4)


def test_a_note_keeps_stage_and_step(seen: Seen) -> None:
    watch = Watch(seen)
    with watch.stage("text", 5):
        watch.step(2)
        watch.note("cut")
    note = next(report for report in seen.reports if report.note)
    assert (note.stage, note.step, note.steps, note.note) == ("text", 2, 5, "cut")
    assert [report.note for report in seen.reports].count(None) == 3


def test_the_state_comes_with_its_step_only(seen: Seen) -> None:
    def state() -> RenderState:
        raise AssertionError("taken by nobody")

    watch = Watch(seen)
    with watch.stage("denoise", 3):
        watch.step(1, state)
        watch.step(2)
    assert [report.state for report in seen.reports] == [None, state, None, None]


def test_the_preview_comes_with_its_step_only(seen: Seen) -> None:
    def preview() -> NDArray[np.uint8]:
        raise AssertionError("taken by nobody")

    watch = Watch(seen)
    with watch.stage("denoise", 3):
        watch.step(1, None, preview)
        watch.note("a note")
        watch.step(2)
    assert [report.preview for report in seen.reports] == [None, preview, None, None, None]


def test_elapsed_and_durations(seen: Seen, tick: Callable[[float], None]) -> None:
    """Seconds since the stage began."""
    watch = Watch(seen)
    tick(50)
    with watch.stage("denoise", 4):
        tick(2)
        watch.step(1)
        tick(3)
        watch.note("a note")
    tick(50)
    with watch.stage("decode"):
        tick(7)
    assert [report.elapsed_s for report in seen.reports] == [0, 2, 5, 5, 0, 7]
    assert watch.durations_s == {"denoise": 5, "decode": 7}


@pytest.mark.parametrize(
    ("step", "steps", "elapsed_s", "expected"),
    [(0, 4, 3.0, None), (1, 4, 3.0, 9.0), (2, 6, 10.0, 20.0), (4, 4, 8.0, 0.0)],
)
def test_time_left(step: int, steps: int, elapsed_s: float, expected: float | None) -> None:
    assert Progress("denoise", step, steps, elapsed_s).eta_s == expected


@pytest.mark.parametrize("at", [0, 1, 2], ids=["opening", "step", "last step"])
def test_raising_in_the_callback_stops(seen: Seen, at: int) -> None:
    def stop(progress: Progress) -> None:
        seen(progress)
        if progress.step == at:
            raise Cancelled("stopped")

    watch = Watch(stop)
    with pytest.raises(Cancelled, match="stopped"), watch.stage("denoise", 2):
        watch.step(1)
    assert [report.step for report in seen.reports] == list(range(at + 1))


def test_a_stage_that_fails_is_not_reported_as_done(seen: Seen) -> None:
    watch = Watch(seen)
    with pytest.raises(ZeroDivisionError), watch.stage("face"):
        raise ZeroDivisionError
    assert seen.short == [("face", 0, 1)] and watch.durations_s == {}


def test_without_a_callback() -> None:
    watch = Watch(None)
    with watch.stage("face"):
        watch.note("heard by the result")
    assert watch.notes == ["heard by the result"] and list(watch.durations_s) == ["face"]
