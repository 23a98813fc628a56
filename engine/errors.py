"""What can go wrong. Every message is one line: what happened, on which input, what to do."""

from collections.abc import Mapping, Sequence

OUT_OF_MEMORY = "out of memory"
"""How notes of renders that took a leaner way begin."""


class EngineError(Exception):
    """Base of all errors that a caller can act on. `exit_code` is what the command line leaves with."""

    exit_code = 1


class InputError(EngineError):
    """A request cannot be rendered as it is: photo, vertices, prompt or a setting.

    `code` names the case for programs (`image_unreadable`, `face_not_found`, `prompt_empty`, ...).
    """

    exit_code = 65

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class DeviceError(EngineError):
    """The device that was asked for is not there or not usable."""

    exit_code = 69


class ResourceError(EngineError):
    """Out of memory, after everything that needs less was tried; it may work later, or elsewhere."""

    exit_code = 75


class TrainingStopped(EngineError):
    """Training went wrong by its own numbers: a loss that is none, or a spike. The state before it is saved."""

    exit_code = 70


class Cancelled(EngineError):
    """The caller stopped a render, by raising this in its progress callback. Nothing half-written is left."""

    exit_code = 130


class OutputError(EngineError):
    """A file cannot be created (exit code 73), or not be written to its end (`WriteError`)."""

    exit_code = 73


class WriteError(OutputError):
    """Writing stopped: disk full, quota, input/output error. Nothing half-written is left."""

    exit_code = 74


class WeightsError(EngineError):
    """Weights are missing, corrupt or do not fit.

    `keys` lists every key that is wrong, by what is wrong with it; the message names the first of each kind.
    """

    exit_code = 78

    def __init__(self, message: str, keys: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.keys = dict(keys or {})


class ConfigError(EngineError):
    """A configuration file is missing, unreadable or describes a network that this engine does not run."""

    exit_code = 78


def one_line(text: str) -> str:
    """Escapes control characters, so that text from outside cannot forge or hide lines where it is printed."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def some_of(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, each cut to what a line can hold, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(name if len(name) <= 100 else f"{name[:97]}..." for name in names[:most]) + more
