"""The store's file: opened, checked, and one transaction at a time.

Write-ahead log, every commit flushed to the disk before it returns. Writers take turns: those of this process by a
lock, which wakes them, those of other processes by SQLite's own, which polls. Readers see the last commit and wait for
nobody. What SQLite alone needs is in this file.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError

from fantasyid_engine.errors import ConfigError, EngineError, OutputError, WriteError
from fantasyid_engine.server.database import tables
from fantasyid_engine.server.database.notes import read_note, write_note

WAIT_FOR_OTHERS_S = 30
SCHEMA_NOTE = "schema"
PRAGMAS = (
    f"busy_timeout = {WAIT_FOR_OTHERS_S * 1000}",
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted of a person is overwritten, not only unlinked
)
NOT_OURS = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class Database:
    """Transactions on one file; safe to use from any thread."""

    def __init__(self, path: Path) -> None:
        """Opens the file, or makes it.

        Raises:
            ConfigError: it is no store, damaged, or of a newer version.
            OutputError: it cannot be made.
            WriteError: it cannot be written.
        """
        self._path = path
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}; name another data folder") from None
        # The threads that call bound how many connections there are; every transaction is ended before one goes back.
        url = URL.create("sqlite", database=str(path))
        self._reading = create_engine(url, max_overflow=-1, pool_reset_on_return=None)
        self._writing = self._reading.execution_options(writes=True)
        self._turn = threading.Lock()
        event.listen(self._reading, "connect", _set_up)
        event.listen(self._reading, "begin", _begin)
        try:
            self._check_schema()
        except EngineError:
            self.close()
            raise

    def close(self) -> None:
        """Lets go of the file, with all of the log written back."""
        self._reading.dispose()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One state of the store, however many questions are asked; raises WriteError where it cannot be read."""
        with self._errors("read"), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A change, whole and on the disk afterwards, or not made at all; raises WriteError where it cannot be."""
        with self._turn, self._errors("write"), self._writing.begin() as connection:
            yield connection

    def wipe(self) -> None:
        """What was deleted is in the log no longer either; a reader that takes long keeps it until the next time."""
        with self._errors("write"), self._reading.connect() as connection:
            connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def _check_schema(self) -> None:
        with self.write() as connection:
            found = inspect(connection).get_table_names()
            if not found:
                tables.metadata.create_all(connection)
                write_note(connection, SCHEMA_NOTE, tables.SCHEMA)
            version = read_note(connection, SCHEMA_NOTE) if tables.meta.name in found else tables.SCHEMA
        if found and (tables.meta.name not in found or not isinstance(version, int)):
            raise ConfigError(f"{self._path} is another program's; name another data folder")
        if version > tables.SCHEMA:
            raise ConfigError(
                f"{self._path} is of a newer version of this program (its tables are number {version}, ours "
                f"{tables.SCHEMA}); update fantasyid-engine, or name another data folder"
            )

    @contextmanager
    def _errors(self, doing: str) -> Iterator[None]:
        """Makes errors of the file ours; others, such as a broken constraint, are bugs and stay what they are."""
        try:
            yield
        except (DBAPIError, sqlite3.DatabaseError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
            if code in NOT_OURS:
                raise ConfigError(
                    f"{self._path} cannot be read: {cause}; put a backup in its place, or name another data folder"
                ) from error
            if not isinstance(cause, sqlite3.OperationalError):
                raise
            hint = "; make room on the disk" if code == sqlite3.SQLITE_FULL else ""
            raise WriteError(f"cannot {doing} {self._path}: {cause}{hint}") from error


def _set_up(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says so, not where the driver guesses
    for pragma in PRAGMAS:
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    # A transaction that reads before it writes must hold others off from its start: it could not wait for them later.
    connection.connection.cursor().execute("BEGIN IMMEDIATE" if writes else "BEGIN").close()
