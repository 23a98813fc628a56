"""Writing so that a visible file is a whole file: temporary name beside it, fsync, rename."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from fantasyid_engine.errors import OutputError, WriteError


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it becomes `path`, on any error it is removed.

    Raises:
        OutputError: the file cannot be created.
        WriteError: it cannot be written to its end.
    """
    with _creating(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
    try:
        with writing(path):
            temporary.chmod(0o644)
            yield temporary
            fsync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; on success it becomes `path`, on any error it is removed.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be created.
        WriteError: something in it cannot be written to its end.
    """
    with _creating(path):
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise OutputError(f"cannot write {path}: it exists already; name a new folder")
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        with writing(path):
            temporary.chmod(0o755)
            yield temporary
            for file in temporary.rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)  # some libraries let nobody else read what they write
                fsync(file)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new_file(path: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a path where no file could be written; `overwrite` allows a file that is there.

    Raises:
        OutputError: something is there already; the place is no folder or not writable.
    """
    try:
        if path.is_dir():
            raise OutputError(f"cannot write {path}: it is a folder; name another")
        if path.exists() and not overwrite:
            raise OutputError(f"cannot write {path}: it exists already; name another or --overwrite")
        try_to_create(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name another place") from None


def try_to_create(path: Path) -> None:
    """Raises OSError where `path` could not be created; permissions alone do not tell of superusers or long names."""
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".partial", dir=parent):
        pass


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """What the system or safetensors refuses while `path` is written is raised as WriteError, which names it."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WriteError(f"cannot write {path}: {error}") from error


def fsync(path: Path) -> None:
    """What was written to a file, or which names a folder has, outlives a power cut; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileExistsError:
        raise OutputError(f"cannot write {path}: {path.parent} is not a folder") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
