"""Taking a job on: once for each idempotency key, and only as many as were agreed."""

import math
import secrets
from dataclasses import dataclass, fields

from sqlalchemy import Connection, bindparam, func, insert, select, update

from fantasyid_engine.server.database.reading import count, job_where, mean_render_s
from fantasyid_engine.server.database.tables import jobs, queues
from fantasyid_engine.server.jobs import Job, NewJob

GUESSED_RENDER_S = 30.0
"""While none was measured."""
LEAST_WAIT_S, MOST_WAIT_S = 1.0, 3600.0
MINUTE_S = 60.0

# Put together once: that takes longer than to run them.
QUEUE = select(
    queues.c.waiting,
    queues.c.minute_from,
    queues.c.made_in_minute,
    select(func.sum(queues.c.waiting)).scalar_subquery().label("waiting_of_all"),
).where(queues.c.key_id == bindparam("key"))
COUNTED = (
    update(queues)
    .where(queues.c.key_id == bindparam("key"))
    .values(waiting=queues.c.waiting + 1, minute_from=bindparam("start"), made_in_minute=bindparam("made"))
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs are taken on.

    Attributes:
        max_queued: that wait, of all keys.
        max_queued_per_key: that wait, of this key.
        max_creates_per_minute: made by this key, in the minute from the first of them; None sets no limit.
    """

    max_queued: int
    max_queued_per_key: int
    max_creates_per_minute: int | None


class TooMany(Exception):
    """A limit is reached; `retry_after_s` is when it is worth trying again."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(f"{message}; try again in {math.ceil(retry_after_s)} s")
        self.message, self.retry_after_s = str(self), retry_after_s


class KeyReused(Exception):
    """The idempotency key came with another request before."""


def create(connection: Connection, new: NewJob, now: float, limits: Limits) -> tuple[Job, bool]:
    """Makes a job; False with an earlier one of the same idempotency key and request.

    Raises:
        KeyReused: the idempotency key is that of another request.
        TooMany: a limit is reached.
    """
    if new.idempotency_key is not None:
        same_key = (jobs.c.key_id == new.key_id, jobs.c.idempotency_key == new.idempotency_key)
        earlier = job_where(connection, *same_key)
        if earlier is not None and earlier.request_sha256 != new.request_sha256:
            raise KeyReused("this idempotency key came with another request before; take a new one for each video")
        if earlier is not None:
            return earlier, False
    _count_in(connection, new.key_id, now, limits)
    asked = {field.name: getattr(new, field.name) for field in fields(NewJob)}
    made = {"id": f"video_{secrets.token_hex(16)}", "state": "queued", "created_at": now}
    values = asked | made | {"consent_ref": new.settings.get("consent_ref")}
    key = connection.execute(insert(jobs), values).inserted_primary_key
    assert key is not None, "it is one row"
    return Job(**asked, **made, sequence=key[0]), True


def _count_in(connection: Connection, key_id: str, now: float, limits: Limits) -> None:
    """Puts a job into its key's queue, which is made with the first; raises TooMany where there is no room for it."""
    queue = connection.execute(QUEUE, {"key": key_id}).one_or_none()
    if queue is None:
        connection.execute(insert(queues), {"key_id": key_id})
        return _count_in(connection, key_id, now, limits)
    waiting, start, made, waiting_of_all = queue
    if waiting >= limits.max_queued_per_key:
        keys = connection.execute(select(func.count()).select_from(queues).where(queues.c.waiting > 0)).scalar_one()
        message = f"{limits.max_queued_per_key} videos of this key are waiting, which is the most"
        raise TooMany(message, _wait_for_renders(connection, keys))
    if waiting_of_all >= limits.max_queued:
        message = f"{limits.max_queued} videos are waiting, which is the most"
        raise TooMany(message, _wait_for_renders(connection, 1))
    if not start <= now < start + MINUTE_S:  # a clock that was set back begins a new minute too
        start, made = now, 0
    if limits.max_creates_per_minute is not None and made >= limits.max_creates_per_minute:
        raise TooMany(f"this key made {made} videos within a minute, which is the most", start + MINUTE_S - now)
    connection.execute(COUNTED, {"key": key_id, "start": start, "made": made + 1})


def _wait_for_renders(connection: Connection, renders: int) -> float:
    """Until so many of the jobs that wait are taken up, by those who render now."""
    each = mean_render_s(connection) or GUESSED_RENDER_S
    at_once = max(1, count(connection, jobs.c.state == "in_progress"))
    return min(max(LEAST_WAIT_S, each * renders / at_once), MOST_WAIT_S)
