"""What the commands put on the screen: lines and progress. Text from outside is escaped here, and nowhere else."""

import sys
from contextlib import suppress
from types import TracebackType

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from fantasyid_engine.cli.preview import can_draw, half_blocks
from fantasyid_engine.errors import EngineError, WriteError, one_line
from fantasyid_engine.progress import Progress

STAGES = {
    "face": "reading the face",
    "text": "reading the prompt",
    "image": "encoding the photo",
    "denoise": "denoising",
    "decode": "decoding frames",
}
MOST_PREVIEWS = 12
"""Pictures of one render."""


def say(text: str) -> None:
    """Prints one line on standard output; see `put`."""
    put(one_line(text))


def put(text: str) -> None:
    """Prints text of our own making on standard output; raises WriteError where that takes no more."""
    try:
        typer.echo(text)
    except OSError as error:
        raise WriteError(f"cannot write to standard output: {error.strerror or error}") from None


def complain(text: str) -> None:
    """Prints one line of a problem on standard error; what that does not take is not worth another problem."""
    with suppress(OSError):
        sys.stderr.write(f"fantasyid-engine: {one_line(text)}\n")


class Screen:
    """Progress of a render: a bar a stage with step and time left on a terminal, one line a stage elsewhere.

    With `preview` the picture so far is below the bars, on a terminal that can draw it.
    """

    def __init__(self, *, preview: bool = False) -> None:
        console = Console(stderr=True)
        self._terminal = console.is_terminal
        self._draws = preview and can_draw(console)
        self._bars = Bars(
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        # A picture is some 20 kB of text each time.
        self._live = Live(self._bars, console=console, refresh_per_second=2 if self._draws else 10)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Screen":
        if self._terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, progress: Progress) -> None:
        """Takes a render's progress; see `Engine.generate`."""
        if progress.note is not None:
            complain(f"note: {progress.note}")
        elif not self._terminal:
            if progress.step == progress.steps:
                steps = f"{progress.steps} steps in " if progress.steps > 1 else ""
                complain(f"{STAGES[progress.stage]}: {steps}{progress.elapsed_s:.1f} s")
        else:
            if progress.stage not in self._tasks:
                self._tasks[progress.stage] = self._bars.add_task(STAGES[progress.stage], total=progress.steps)
            self._bars.update(self._tasks[progress.stage], completed=progress.step)
            if self._draws and progress.preview is not None and _is_due(progress):
                with suppress(EngineError):  # a picture that memory has no room for is not worth the render
                    self._live.update(Group(self._bars, half_blocks(progress.preview())), refresh=True)


def _is_due(progress: Progress) -> bool:
    """Whether a picture is drawn after this step: after the last, and `MOST_PREVIEWS` times at most."""
    every = -(-progress.steps // MOST_PREVIEWS)
    return progress.step % every == 0 or progress.step == progress.steps
