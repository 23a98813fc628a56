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
        with _writing(path):
            temporary.chmod(0o644)
            yield temporary
            _fsync(temporary)
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
        with _writing(path):
            temporary.chmod(0o755)
            yield temporary
            for file in temporary.rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)  # some libraries let nobody else read what they write
                _fsync(file)
            temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def try_to_create(path: Path) -> None:
    """Raises OSError where `path` could not be created; permissions alone do not tell of superusers or long names."""
    parent = next(parent for parent in path.absolute().parents if parent.exists())
    with tempfile.NamedTemporaryFile(prefix=f".{path.name}.", suffix=".partial", dir=parent):
        pass


@contextmanager
def _creating(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except FileExistsError:
        raise OutputError(f"cannot write {path}: {path.parent} is not a folder") from None
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise WriteError(f"cannot write {path}: {error.strerror or error}") from error
    except SafetensorError as error:
        raise WriteError(f"cannot write {path}: {error}") from error


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
