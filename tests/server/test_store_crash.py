"""What the store said is on the disk: processes that are killed, and many that write at once."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.store import Store
from tests.server.stores import RESULT, claim, lease, make, make_at_once, new_job

ROOT = Path(__file__).parents[2]
LATER = {"queued": 0, "in_progress": 1, "completed": 2}
"""States in the order that a job goes through them."""


def test_killed_while_it_writes(tmp_path: Path) -> None:
    """Each time at another place; the next one goes on with the same file."""
    path, said = tmp_path / "jobs.sqlite", list[tuple[str, str]]()
    for lines in (1, 8, 50):
        said += _lines_until_killed(path, lines)
        with closing(Store(path)) as store:
            states = {job_id: state for state, job_id in said}  # the last that was said of each
            for job_id, state in states.items():
                job = store.get(job_id)
                assert job is not None and LATER[job.state] >= LATER[state], (job, state)
            jobs = store.of_subject(key_id=None, photo_sha256=None, consent_ref=None, before=None)
            created = [job_id for state, job_id in said if state == "queued"]
            assert [job.id for job in jobs if job.id in set(created)] == created, "in the order that was said"
            _check_whole(store, jobs)
            for job in store.leased():
                assert store.interrupt(lease(job), now=9, expires_at=None)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _lines_until_killed(path: Path, lines: int) -> list[tuple[str, str]]:
    """What a writer says until it is killed, at some moment after so many lines."""
    command = [sys.executable, "-m", "tests.server.store_writer", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        said = [process.stdout.readline() for _ in range(lines)]
        time.sleep(0.003 * lines)
        process.send_signal(signal.SIGKILL)
        said += [line for line in process.stdout if line.endswith("\n")]
    assert process.returncode == -signal.SIGKILL, said
    pairs = [line.split() for line in said]
    return [(state, job_id) for state, job_id in pairs]


def _check_whole(store: Store, jobs: list[Job]) -> None:
    """No change is there by half."""
    told = {json.loads(delivery.body)["data"]["id"] for delivery in store.due(99, 9999)}
    for job in jobs:
        assert (job.lease is not None) == (job.state == "in_progress") == (job.lease_until is not None)
        assert (job.id in told) == (job.state == "completed") == (job.result == RESULT)


def test_what_is_said_waits_for_the_disk(tmp_path: Path) -> None:
    """Power that fails cannot be tried here: what holds for it is how each connection is set."""
    with (
        closing(Store(tmp_path / "jobs.sqlite")) as store,
        store._database.read() as reads,
        store._database.write() as writes,
    ):
        for connection in (reads, writes):
            names = ("journal_mode", "synchronous", "foreign_keys")
            found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]
            assert found == ["wal", 2, 1]  # 2 is FULL


def test_many_threads_claim_each_job_once(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "jobs.sqlite")) as store:
        jobs = [make(store) for _ in range(40)]
        with ThreadPoolExecutor(16) as threads:
            claimed = list(threads.map(lambda i: claim(store, worker=f"w{i}").id, range(40)))
    assert sorted(claimed) == sorted(job.id for job in jobs)


CLAIMS = """
import sys, time
from contextlib import closing, suppress
from pathlib import Path
from fantasyid_engine.server.store import Store
with closing(Store(Path(sys.argv[1]))) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while job := store.claim("w", now=1, lease_s=9, last=None):
        print(job.id, flush=True)
        time.sleep(0.002)  # as if it rendered
"""


def test_many_processes_claim_each_job_once(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    make_at_once(path, [new_job() for _ in range(120)])
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", CLAIMS, path], **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [process.communicate()[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    with closing(Store(path)) as store:
        assert sorted(job_id for found in claimed for job_id in found) == sorted(store.job_ids())
