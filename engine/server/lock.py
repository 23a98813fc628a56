"""One server a data folder: the lock that it holds while it runs."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fantasyid_engine.errors import ConfigError, OutputError

NAME = "server.lock"


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """Holds the folder's lock, which ends with the process at the latest.

    Raises:
        ConfigError: a server runs on the folder.
        OutputError: the folder cannot be written.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data / NAME).open("ab")
    except OSError as error:
        raise OutputError(f"cannot write {data}: {error.strerror}; name another data folder") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{data} is in use by a server that runs; stop it, or name another folder") from None
        yield
