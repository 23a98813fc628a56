"""Questions to the store that change nothing."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from fantasyid_engine.server.database.tables import jobs
from fantasyid_engine.server.jobs import Job, State

COLUMNS = tuple(jobs.c[field.name] for field in fields(Job))
LAST_RENDERS = 20


def to_job(row: Row[Any]) -> Job:
    """A row of `COLUMNS`."""
    return Job(**row._mapping)


def job_where(connection: Connection, *conditions: ColumnElement[bool]) -> Job | None:
    """The only job of which all conditions hold."""
    row = connection.execute(select(*COLUMNS).where(*conditions)).one_or_none()
    return None if row is None else to_job(row)


def get(connection: Connection, job_id: str, key_id: str | None) -> Job | None:
    """A job by its id; None where there is none, or it is another key's."""
    return job_where(connection, jobs.c.id == job_id, *_of_key(key_id))


def page(
    connection: Connection, key_id: str, after: str | None, limit: int, newest_first: bool
) -> tuple[list[Job], bool]:
    """Up to `limit` of a key's jobs after the job `after`, and whether more follow."""
    place = jobs.c.sequence
    wanted = select(*COLUMNS).where(jobs.c.key_id == key_id)
    if after is not None:
        start = connection.execute(select(place).where(jobs.c.id == after, *_of_key(key_id))).scalar_one_or_none()
        if start is None:
            raise LookupError(f"there is no job {after!r}")
        wanted = wanted.where(place < start if newest_first else place > start)
    found = _jobs(connection, wanted.order_by(place.desc() if newest_first else place).limit(limit + 1))
    return found[:limit], len(found) > limit


def counts(connection: Connection) -> dict[State, int]:
    """How many jobs there are in each state."""
    found = connection.execute(select(jobs.c.state, func.count()).group_by(jobs.c.state))
    numbers: dict[State, int] = {"queued": 0, "in_progress": 0, "completed": 0, "failed": 0}
    return numbers | {row[0]: row[1] for row in found}


def count(connection: Connection, *conditions: ColumnElement[bool]) -> int:
    """Jobs of which all conditions hold."""
    return connection.execute(select(func.count()).select_from(jobs).where(*conditions)).scalar_one()


def mean_render_s(connection: Connection) -> float | None:
    """Seconds that a render took, of the last 20 that tell; None before the first."""
    results = connection.execute(
        select(jobs.c.result).where(jobs.c.state == "completed").order_by(jobs.c.finished_at.desc()).limit(LAST_RENDERS)
    )
    known = [result["render_s"] for result in results.scalars() if isinstance(result.get("render_s"), int | float)]
    return sum(known) / len(known) if known else None


def leased(connection: Connection) -> list[Job]:
    """Jobs under way, the oldest first."""
    return _jobs(connection, select(*COLUMNS).where(jobs.c.state == "in_progress").order_by(jobs.c.sequence))


def waiting_for_others(connection: Connection, model: str) -> list[Job]:
    """Jobs that wait for another model than this one, the oldest first."""
    waits = select(*COLUMNS).where(jobs.c.state == "queued", jobs.c.model != model)
    return _jobs(connection, waits.order_by(jobs.c.sequence))


def next_expiring(connection: Connection, now: float, limit: int) -> list[Job]:
    """Up to `limit` jobs whose time is over, those that are over longest first."""
    over = select(*COLUMNS).where(jobs.c.expires_at <= now)
    return _jobs(connection, over.order_by(jobs.c.expires_at, jobs.c.sequence).limit(limit))


def photo_in_use(connection: Connection, sha256: str) -> bool:
    """Whether any job, finished ones too, is of this photo."""
    return connection.execute(select(jobs.c.sequence).where(jobs.c.photo_sha256 == sha256).limit(1)).first() is not None


def photos(connection: Connection) -> set[str]:
    """Digests of all photos in use."""
    return set(connection.execute(select(jobs.c.photo_sha256).distinct()).scalars())


def job_ids(connection: Connection, *states: State) -> set[str]:
    """Ids of all jobs, or of those in these states."""
    wanted = select(jobs.c.id).where(jobs.c.state.in_(states)) if states else select(jobs.c.id)
    return set(connection.execute(wanted).scalars())


def of_subject(
    connection: Connection, key_id: str | None, photo_sha256: str | None, consent_ref: str | None, before: float | None
) -> list[Job]:
    """Jobs of which everything that is given holds, the oldest first."""
    conditions = [
        *_of_key(key_id),
        *([] if photo_sha256 is None else [jobs.c.photo_sha256 == photo_sha256]),
        *([] if consent_ref is None else [jobs.c.consent_ref == consent_ref]),
        *([] if before is None else [jobs.c.created_at < before]),
    ]
    return _jobs(connection, select(*COLUMNS).where(*conditions).order_by(jobs.c.sequence))


def _of_key(key_id: str | None) -> Iterable[ColumnElement[bool]]:
    return () if key_id is None else (jobs.c.key_id == key_id,)


def _jobs(connection: Connection, wanted: Select[Any]) -> list[Job]:
    return [to_job(row) for row in connection.execute(wanted)]
