"""What happens to a job once it was claimed.

    queued       claim                                                -> in_progress
    in_progress  give_back, interrupt                                 -> queued
    in_progress  complete                                             -> completed
    in_progress  fail, cancel, give_back and interrupt too many times -> failed
    queued       cancel                                               -> failed

A lease names the attempt: what comes under an old one changes nothing.
"""

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, select, update

from fantasyid_engine.errors import one_line
from fantasyid_engine.server.database import deliveries
from fantasyid_engine.server.database.queues import entered, left
from fantasyid_engine.server.database.reading import get, job_where, waiting_for_others
from fantasyid_engine.server.database.tables import jobs
from fantasyid_engine.server.jobs import FINAL, Job, State

NO_ATTEMPT = {"lease": None, "lease_until": None}
AGAIN = {"state": "queued"} | NO_ATTEMPT


def extend(connection: Connection, lease: str, until: float) -> bool:
    """Keeps an attempt alive; False where it no longer counts."""
    return connection.execute(update(jobs).where(_under(lease)).values(lease_until=until)).rowcount == 1


def saved(connection: Connection, lease: str, steps_done: int) -> bool:
    """Notes what the saved state has behind it; whoever gets further than ever before has all attempts anew."""
    reached = connection.execute(select(jobs.c.steps_reached).where(_under(lease))).scalar_one_or_none()
    if reached is None:
        return False
    # Not compared with the last state: one that is lost each time would let a job kill workers for ever.
    further = {"steps_reached": steps_done, "attempts": 0, "interruptions": 0} if steps_done > reached else {}
    connection.execute(update(jobs).where(_under(lease)).values(steps_saved=steps_done, **further))
    return True


def complete(
    connection: Connection, lease: str, result: dict[str, Any], now: float, expires_at: float | None
) -> Job | None:
    """Ends a job well; None where the attempt no longer counts."""
    job = job_where(connection, _under(lease))
    return job and _end(connection, job, now, expires_at, state="completed", result=result)


def fail(
    connection: Connection, lease: str, code: str, message: str, now: float, expires_at: float | None
) -> Job | None:
    """Ends a job badly; None where the attempt no longer counts."""
    job = job_where(connection, _under(lease))
    return job and _fail(connection, job, code, message, now, expires_at)


def give_back(
    connection: Connection, lease: str, died: bool, max_attempts: int, now: float, expires_at: float | None
) -> Job | None:
    """Queues a job again, in its old place; fails it once `max_attempts` workers died of it in one place."""
    job = job_where(connection, _under(lease))
    if job is None:
        return None
    attempts = job.attempts + died
    if died and attempts >= max_attempts:
        times = "once" if attempts == 1 else f"{attempts} times"
        message = f"the worker died {times} while rendering this; change the photo or the settings"
        return _fail(connection, job, "worker_died", message, now, expires_at, attempts=attempts)
    return _change(connection, job, **AGAIN, attempts=attempts)


def interrupt(connection: Connection, lease: str, most: int, now: float, expires_at: float | None) -> Job | None:
    """Queues a job again that the server itself was stopped under; fails it after `most` times without progress."""
    job = job_where(connection, _under(lease))
    if job is None:
        return None
    interruptions = job.interruptions + 1
    if interruptions >= most:
        message = f"the server stopped {interruptions} times while rendering this; ask for it again"
        return _fail(connection, job, "interrupted", message, now, expires_at, interruptions=interruptions)
    return _change(connection, job, **AGAIN, interruptions=interruptions)


def cancel(
    connection: Connection, job_id: str, key_id: str | None, now: float, expires_at: float | None
) -> tuple[Job, State] | None:
    """Ends a job that waits or is under way; one that is final stays as it is. None where there is no such job.

    The state is the one before.
    """
    job = get(connection, job_id, key_id)
    if job is None:
        return None
    if job.state in FINAL:
        return job, job.state
    return _fail(connection, job, "cancelled", "cancelled by the client", now, expires_at), job.state


def fail_others(connection: Connection, model: str, now: float, expires_at: float | None) -> list[Job]:
    """Ends all jobs that wait for another model than this one."""
    message = f"this server renders with {model} now; ask for the video again"
    others = waiting_for_others(connection, model)
    return [_fail(connection, job, "model_gone", message, now, expires_at) for job in others]


def remove(connection: Connection, job_id: str, key_id: str | None) -> Job | None:
    """Deletes a job in any state, with its deliveries; returns what it was."""
    job = get(connection, job_id, key_id)
    if job is not None:
        connection.execute(delete(jobs).where(jobs.c.id == job.id))
        if job.state == "queued":
            left(connection, job.key_id)
    return job


def _under(lease: str) -> ColumnElement[bool]:
    return jobs.c.lease == lease


def _fail(
    connection: Connection, job: Job, code: str, message: str, now: float, expires_at: float | None, **values: Any
) -> Job:
    error = {"error_code": code, "error_message": one_line(message)}
    return _end(connection, job, now, expires_at, state="failed", **error, **values)


def _end(connection: Connection, job: Job, now: float, expires_at: float | None, **values: Any) -> Job:
    job = _change(connection, job, finished_at=now, expires_at=expires_at, **NO_ATTEMPT, **values)
    deliveries.add(connection, job, now)
    return job


def _change(connection: Connection, job: Job, **values: Any) -> Job:
    connection.execute(update(jobs).where(jobs.c.id == job.id).values(**values))
    changed = job_where(connection, jobs.c.id == job.id)
    assert changed is not None, "it was there in this transaction"
    if changed.state != job.state and "queued" in (changed.state, job.state):
        (entered if changed.state == "queued" else left)(connection, job.key_id)
    return changed
