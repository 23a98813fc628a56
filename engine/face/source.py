"""Bytes of what a user names: a regular file, read whole and only up to a limit, or the bytes themselves."""

import stat
from pathlib import Path

from fantasyid_engine.errors import InputError, one_line

Source = str | Path | bytes


def name_of(source: Source, what: str) -> str:
    """How messages call a source: its path, or what it is ("the photo file") where it has none."""
    return f"the {what} file" if isinstance(source, bytes) else one_line(str(source))


def read_source(source: Source, what: str, limit_bytes: int, missing: str, too_large: str) -> bytes:
    """The bytes of `source`, at most `limit_bytes`.

    Args:
        source: path of a regular file (pipes and devices could block or never end), or the bytes.
        what: what it is, for messages ("photo", "vertex").
        limit_bytes: one byte more is an error.
        missing: code of the error when no such file can be read.
        too_large: code of the error above the limit.

    Raises:
        InputError: with one of the two codes.
    """
    name = name_of(source, what)
    data = source if isinstance(source, bytes) else _read(Path(source), name, what, limit_bytes + 1, missing)
    check_length(data, name, what, limit_bytes, too_large)
    return data


def check_length(data: bytes, name: str, what: str, limit_bytes: int, too_large: str) -> None:
    """Raises InputError with code `too_large` for more than `limit_bytes`."""
    if len(data) > limit_bytes:
        raise InputError(too_large, f"{name} has more than {limit_bytes >> 20} MiB; give a smaller {what} file")


def _read(path: Path, name: str, what: str, most_bytes: int, missing: str) -> bytes:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise InputError(missing, f"{name} is {kind}; give the path of a {what} file")
        with path.open("rb") as file:
            return file.read(most_bytes)
    except FileNotFoundError:
        raise InputError(missing, f"{name} does not exist; give the path of a {what} file") from None
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(missing, f"{name} cannot be opened ({reason}); give the path of a {what} file") from None
