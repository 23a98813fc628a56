"""Whose job is next.

Keys take turns: of those with waiting jobs the one whose last turn is longest ago. Of a key's jobs the highest priority
goes first, then the oldest; but one of that same priority with the photo and the length of the worker's last job may
pass it, since its face is in the worker's memory, until the first was passed over `MOST_PASSED` times.

Let r be a job's place among its key's own, and n_k how many wait for key k. Whoever comes before its key in the round
gets min(n_k, r) turns before it, the others min(n_k, r - 1):

    position = r + sum over other keys k of min(n_k, r - [k comes later in the round])
"""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, FromClause, ScalarSelect, Select, bindparam, func, select, update

from fantasyid_engine.server.database.queues import left
from fantasyid_engine.server.database.reading import COLUMNS, job_where, mean_render_s, to_job
from fantasyid_engine.server.database.tables import jobs, queues
from fantasyid_engine.server.jobs import Job, Place

MOST_PASSED = 8
WAITS = jobs.c.state == "queued"


def _number(table: FromClause, *conditions: ColumnElement[bool]) -> ScalarSelect[int]:
    """How many rows of a table there are for each of the query around it."""
    return select(func.count()).select_from(table).where(*conditions).scalar_subquery()


def _behind() -> Select[Any, Any, Any, int]:
    """How many of their key's own come after jobs: none after one that was just made, which is asked most often."""
    job, other = jobs.alias("job"), jobs.alias("other")
    of_key = (other.c.state == "queued", other.c.key_id == job.c.key_id)
    lower = _number(other, *of_key, other.c.priority < job.c.priority)
    newer = _number(other, *of_key, other.c.priority == job.c.priority, other.c.sequence > job.c.sequence)
    wanted = bindparam("job_ids", expanding=True)
    return select(job.c.id, job.c.key_id, job.c.state, lower + newer).where(job.c.id.in_(wanted))


# Put together once: that takes longer than to run them.
BEHIND = _behind()
QUEUES = select(queues.c.key_id, queues.c.last_turn, queues.c.waiting)


def claim(connection: Connection, worker: str, now: float, lease_s: float, last: Job | None) -> Job | None:
    """Gives the next job to a worker, under a new lease; None where none waits. `last`: what the worker did before."""
    turn = connection.execute(
        select(queues.c.key_id, queues.c.passed_over)
        .where(queues.c.waiting > 0)
        .order_by(queues.c.last_turn, queues.c.key_id)
        .limit(1)
    ).one_or_none()
    if turn is None:
        return None
    first = _first(connection, jobs.c.key_id == turn.key_id)
    assert first is not None, "the key has one that waits"
    chosen = first
    if last is not None and turn.passed_over < MOST_PASSED:
        chosen = _first(connection, *_alike(first, last)) or first

    latest = connection.execute(select(func.max(queues.c.last_turn))).scalar_one()
    passed_over = 0 if chosen.id == first.id else turn.passed_over + 1
    connection.execute(
        update(queues).where(queues.c.key_id == turn.key_id).values(last_turn=latest + 1, passed_over=passed_over)
    )
    left(connection, turn.key_id)
    attempt = {"lease": secrets.token_hex(16), "lease_until": now + lease_s, "worker": worker}
    started_at = now if chosen.started_at is None else chosen.started_at
    connection.execute(
        update(jobs).where(jobs.c.id == chosen.id).values(state="in_progress", started_at=started_at, **attempt)
    )
    return job_where(connection, jobs.c.id == chosen.id)


def place(connection: Connection, job: Job) -> Place | None:
    """Where a job is in the queue; None for one that does not wait."""
    if job.state != "queued":
        return None
    return Place(positions(connection, [job.id])[job.id], mean_render_s(connection))


def positions(connection: Connection, job_ids: Sequence[str]) -> dict[str, int]:
    """After how many turns each of these jobs is claimed, 1 for the next; without those that do not wait."""
    found = connection.execute(BEHIND, {"job_ids": job_ids})
    waiting = [(job_id, key_id, behind) for job_id, key_id, state, behind in found if state == "queued"]
    rows = connection.execute(QUEUES).all()
    numbers = {key_id: number for key_id, _, number in rows}
    turns = {key_id: (last_turn, key_id) for key_id, last_turn, _ in rows}

    def before(key_id: str, rank: int) -> int:
        others = ((turns[other], number) for other, number in numbers.items() if other != key_id and number)
        return sum(min(number, rank if turn < turns[key_id] else rank - 1) for turn, number in others)

    ranks = [(job_id, key_id, numbers[key_id] - behind) for job_id, key_id, behind in waiting]
    return {job_id: rank + before(key_id, rank) for job_id, key_id, rank in ranks}


def _first(connection: Connection, *conditions: ColumnElement[bool]) -> Job | None:
    wanted = select(*COLUMNS).where(WAITS, *conditions).order_by(jobs.c.priority.desc(), jobs.c.sequence).limit(1)
    row = connection.execute(wanted).one_or_none()
    return None if row is None else to_job(row)


def _alike(first: Job, last: Job) -> tuple[ColumnElement[bool], ...]:
    """Jobs that could go in the place of `first` and have the face and the length of `last`."""
    return (
        jobs.c.photo_sha256 == last.photo_sha256,
        jobs.c.num_frames == last.num_frames,
        jobs.c.key_id == first.key_id,
        jobs.c.priority == first.priority,
    )
