"""Progress on the screen: bars and a preview on a terminal, lines elsewhere."""

import numpy as np
import pytest
from numpy.typing import NDArray

from fantasyid_engine.cli.screen import Screen
from fantasyid_engine.progress import Progress

PLACES = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "NO_COLOR", "COLORTERM", "TERM")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PLACES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def terminal(environment: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in (("FORCE_COLOR", "1"), ("COLORTERM", "truecolor"), ("TERM", "xterm-256color")):
        environment.setenv(name, value)
    return environment


class Render:
    """Reports of a render of so many steps; `taken` are the steps whose preview was asked for."""

    def __init__(self, steps: int, first: int = 1) -> None:
        self.steps, self.first = steps, first
        self.taken: list[int] = []

    def on(self, screen: Screen) -> "Render":
        with screen:
            screen.show(Progress("face", 0, 1, 0.0))
            screen.show(Progress("face", 1, 1, 0.1))
            screen.show(Progress("denoise", 0, self.steps, 0.0))
            for step in range(self.first, self.steps + 1):

                def preview(step: int = step) -> NDArray[np.uint8]:
                    self.taken.append(step)
                    return np.full((2, 1, 3), (step % 256, 7, 9), np.uint8)

                screen.show(Progress("denoise", step, self.steps, 0.1 * step, preview=preview))
            screen.show(Progress("denoise", self.steps, self.steps, 1.0, note="a note"))
            screen.show(Progress("decode", 1, 1, 0.5))
        return self


def block(step: int) -> str:
    return f"38;2;{step};7;9;48;2;{step};7;9m▀"


def test_a_terminal_shows_bars_and_pictures(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    render = Render(3).on(Screen(preview=True))
    shown = capsys.readouterr().err
    assert render.taken == [1, 2, 3]
    assert [shown.index(block(step)) for step in (1, 2, 3)] == sorted(shown.index(block(step)) for step in (1, 2, 3))
    end = shown[shown.rindex("reading the face") :]
    last = [end.index(word) for word in ("denoising", "3/3", "decoding frames", block(3))]
    assert last == sorted(last), "the picture is below the bars, and stays"
    assert "note: a note" in shown


@pytest.mark.parametrize(
    ("steps", "first", "expected"),
    [
        (1, 1, [1]),
        (12, 1, list(range(1, 13))),
        (13, 1, [2, 4, 6, 8, 10, 12, 13]),
        (50, 1, list(range(5, 51, 5))),
        (50, 43, [45, 50]),
        (1000, 1, [*range(84, 925, 84), 1000]),
    ],
    ids=str,
)
def test_twelve_pictures_at_most(
    terminal: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    steps: int,
    first: int,
    expected: list[int],
) -> None:
    """And always the last."""
    assert Render(steps, first).on(Screen(preview=True)).taken == expected
    assert len(expected) <= 12


def test_none_unless_asked(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert Render(3).on(Screen()).taken == []
    shown = capsys.readouterr().err
    assert "▀" not in shown and "decoding frames" in shown and "3/3" in shown


def test_a_terminal_without_colours(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.setenv("NO_COLOR", "1")
    assert Render(3).on(Screen(preview=True)).taken == []
    shown = capsys.readouterr().err
    assert "▀" not in shown and "decoding frames" in shown


def test_where_there_is_no_terminal(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a stage, with --preview and without."""
    shown: list[str] = []
    for preview in (True, False):
        assert Render(3).on(Screen(preview=preview)).taken == []
        shown.append(capsys.readouterr().err)
    assert shown[0] == shown[1]
    assert shown[0].splitlines() == [
        "fantasyid-engine: reading the face: 0.1 s",
        "fantasyid-engine: denoising: 3 steps in 0.3 s",
        "fantasyid-engine: note: a note",
        "fantasyid-engine: decoding frames: 0.5 s",
    ]


def test_an_error_ends_the_bars(terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The cursor is shown again."""

    def preview() -> NDArray[np.uint8]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Screen(preview=True) as screen:
        screen.show(Progress("denoise", 1, 1, 0.0, preview=preview))
    assert capsys.readouterr().err.rindex("\x1b[?25h") > 0
