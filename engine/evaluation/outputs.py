"""Files that belong together: all of them are written, or none."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from fantasyid_engine.atomic import atomic_file, try_to_create
from fantasyid_engine.errors import OutputError


def check_folder(folder: Path, files: Sequence[str], *, overwrite: bool) -> None:
    """Refuses, before any work, a folder in which `files` could not be written.

    Raises:
        OutputError: one is there already and may not be replaced, or the place is not writable.
    """
    for name in files:
        path = folder / name
        if path.is_dir() or (path.exists() and not overwrite):
            raise OutputError(f"cannot write {path}: it exists already; name another folder or --overwrite")
        try:
            try_to_create(path)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; name another place") from None


def write_files(contents: Mapping[Path, str]) -> None:
    """Writes texts to files, each whole, and none of them before all could be written.

    Raises:
        OutputError: see `atomic_file`.
    """
    with ExitStack() as stack:
        for path, text in contents.items():
            stack.enter_context(atomic_file(path)).write_text(text, encoding="utf-8")
