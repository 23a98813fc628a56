"""The store's file: on a disk that is full, locked, of another program or a newer version, and read by nobody else."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import update

from fantasyid_engine.errors import ConfigError, OutputError, WriteError
from fantasyid_engine.server.database import tables
from fantasyid_engine.server.database.connection import SCHEMA_NOTE
from fantasyid_engine.server.database.notes import write_note
from fantasyid_engine.server.store import Store
from tests.server.stores import make, position

ROOT = Path(__file__).parents[2]

FILLS = """
import sys
from contextlib import closing
from pathlib import Path
from fantasyid_engine.errors import WriteError
from fantasyid_engine.server.store import Store
from tests.server.stores import RESULT, claim, lease, make

folder = Path(sys.argv[1])
with closing(Store(folder / "jobs.sqlite")) as store:
    made = [make(store, webhook_url="https://example.com/hook")]
    job = claim(store)
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass
    refused = 0
    for _ in range(9):
        try:
            made.append(make(store, settings={"prompt": "x" * 20_000}))
        except WriteError as error:
            refused += 1
            assert "full" in str(error) and "make room" in str(error) and "\\n" not in str(error), error
    for change in (
        lambda: store.complete(lease(job), RESULT | {"notes": ["x" * 20_000]}, now=5, expires_at=None),
        lambda: store.fail(lease(job), "x", "y" * 20_000, now=5, expires_at=None),
    ):
        try:
            change()
        except WriteError:
            refused += 1
    assert refused == 11, refused
    assert store.get(job.id) == job and store.due(9, 9) == []
    assert store.counts() == {"queued": 0, "in_progress": 1, "completed": 0, "failed": 0}
    filler.unlink()
    assert store.complete(lease(job), RESULT, now=5, expires_at=None).state == "completed"
    made.append(make(store, settings={"prompt": "x" * 20_000}))
with closing(Store(folder / "jobs.sqlite")) as store:
    assert store.job_ids() == {job.id for job in made} and len(made) == 2
    assert len(store.due(9, 9)) == 1
print("well again")
"""


def test_what_is_deleted_is_in_no_file_any_more(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        job = make(store, settings={"prompt": "a secret of somebody"})
        assert any(b"a secret of" in path.read_bytes() for path in tmp_path.iterdir())
        store.delete(job.id, key_id=None)
        store.wipe()
        assert not any(b"a secret of" in path.read_bytes() for path in tmp_path.iterdir())


def test_what_waits_is_counted_anew(tmp_path: Path) -> None:
    """Numbers that went wrong, however that came, are right after the next start."""
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        job, _ = make(store), make(store)
        with store._database.write() as connection:
            connection.execute(update(tables.queues).values(waiting=7))
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        assert position(store, job) == 1


def test_disk_full(tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size={1 << 20} none "$0"; exec "$@"'
    wrap: tuple[str | Path, ...] = ("unshare", "--mount", "--map-root-user", "sh", "-ec", script, tmp_path)
    if shutil.which("unshare") is None or subprocess.run([*wrap, "true"], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    done = subprocess.run([*wrap, sys.executable, "-c", FILLS, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "well again\n"), done.stderr


OUTGROWS = """
import resource, sys
from contextlib import closing
from pathlib import Path
from fantasyid_engine.errors import WriteError
from fantasyid_engine.server.store import Store
from tests.server.stores import make

with closing(Store(Path(sys.argv[1]))) as store:
    made = [make(store)]
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, most))
    refused = 0
    for _ in range(3):
        try:
            made.append(make(store, settings={"prompt": "x" * 200_000}))
        except WriteError as error:
            refused += 1
            assert str(error).startswith("cannot write") and "\\n" not in str(error), error
    assert refused == 3 and store.job_ids() == {made[0].id}
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    made.append(make(store, settings={"prompt": "x" * 200_000}))
    assert store.job_ids() == {job.id for job in made}
print("well again")
"""


def test_file_that_may_not_grow(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OUTGROWS, tmp_path / "jobs.sqlite"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "well again\n"), done.stderr


def test_locked_by_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers go on; a writer says that it could not, and can once the other is done."""
    monkeypatch.setattr("fantasyid_engine.server.database.connection.PRAGMAS", ("busy_timeout = 50",))
    path = tmp_path / "jobs.sqlite"
    with closing(Store(path)) as store, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        job = make(store)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(WriteError, match=r"cannot write .*jobs\.sqlite: database is locked"):
            make(store)
        assert store.get(job.id) == job
        other.execute("ROLLBACK")
        make(store)
        assert store.counts()["queued"] == 2


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with closing(Store(path)) as store:
        job = make(store)
        with store._database.write() as connection:
            write_note(connection, SCHEMA_NOTE, tables.SCHEMA + 1)
    with pytest.raises(ConfigError, match=r"newer version .*; update fantasyid-engine"):
        Store(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT id FROM jobs").fetchall() == [(job.id,)]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        pytest.param("CREATE TABLE messages (id)", "is another program's", id="other-tables"),
        pytest.param("CREATE TABLE jobs (id)", "is another program's", id="other-jobs"),
        pytest.param("CREATE TABLE meta (name, value)", "is another program's", id="no-number"),
    ],
)
def test_another_programs_store_is_refused(tmp_path: Path, statement: str, says: str) -> None:
    path = tmp_path / "jobs.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
    with pytest.raises(ConfigError, match=says):
        Store(path)
    with closing(sqlite3.connect(path)) as connection:
        assert len(connection.execute("SELECT name FROM sqlite_master").fetchall()) == 1


def test_no_store_at_all(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(b"a text that is no database, and is long enough to be read as one" * 100)
    with pytest.raises(ConfigError, match=r"cannot be read: file is not a database; put a backup in its place"):
        Store(path)
    with pytest.raises(OutputError, match="name another data folder"):
        Store(tmp_path / "no" / "such" / "folder")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(WriteError, match="unable to open"):
        Store(folder)


def test_an_empty_file_is_a_store_that_was_killed_while_it_was_made(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.touch()
    with closing(Store(path)) as store:
        make(store)


def test_what_is_deleted_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    with closing(Store(path)) as store:
        jobs = [make(store, settings={"prompt": f"a secret of {name}"}) for name in ("ann", "bob")]
        store.delete(jobs[0].id, key_id=None)
    data = path.read_bytes()
    assert b"a secret of bob" in data and b"a secret of ann" not in data and jobs[0].id.encode() not in data


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        with closing(Store(tmp_path / "jobs.sqlite")) as store:
            make(store)
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    finally:
        os.umask(umask)
    assert set(modes) == {"jobs.sqlite", "jobs.sqlite-wal", "jobs.sqlite-shm"} and set(modes.values()) == {0o600}
