"""Webhooks that are to be delivered: made in the transaction that ends their job, so that none is lost or made up."""

import secrets
from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from fantasyid_engine.errors import one_line
from fantasyid_engine.server.database.tables import deliveries, jobs
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.webhooks import Delivery, event_body

Wanted = Select[*tuple[Any, ...]]
COLUMNS = (deliveries.c.id, deliveries.c.url, deliveries.c.body, deliveries.c.attempt, jobs.c.key_id)
"""What a `Delivery` holds."""
AGE = (deliveries.c.next_at, deliveries.c.id)


def add(connection: Connection, job: Job, now: float) -> None:
    """Makes the delivery of a job that has just ended, if anybody wants to be told."""
    if job.webhook_url is None:
        return
    assert job.state == "completed" or job.state == "failed", "others have no event"
    body = event_body(job.id, job.state, job.error_code, now)
    name = f"msg_{secrets.token_hex(16)}"
    connection.execute(insert(deliveries).values(id=name, job_id=job.id, url=job.webhook_url, body=body, next_at=now))


def due(connection: Connection, now: float, limit: int) -> list[Delivery]:
    """Up to `limit` deliveries whose time has come, those that wait longest first.

    Where there are more, keys take turns, and of each key the addresses: a receiver that is dead leaves thousands.
    """
    come: Wanted = select(*COLUMNS).join_from(deliveries, jobs).where(deliveries.c.next_at <= now)
    rows = connection.execute(come.order_by(*AGE).limit(limit + 1)).all()
    if len(rows) > limit:
        rows = connection.execute(_in_turns(come).limit(limit)).all()
    return [Delivery(*row) for row in rows]


def _in_turns(come: Wanted) -> Wanted:
    """The first of each address, then the second ..., by key; of these the first of each key, then the second ..."""
    of_address = func.row_number().over(partition_by=(jobs.c.key_id, deliveries.c.url), order_by=AGE)
    found = come.add_columns(deliveries.c.next_at, of_address.label("of_address")).subquery().c
    age = (found.next_at, found.id)
    of_key = func.row_number().over(partition_by=found.key_id, order_by=(found.of_address, *age))
    return select(*(found[column.name] for column in COLUMNS)).order_by(of_key, *age)


def record(connection: Connection, delivery_id: str, delivered: bool, next_at: float | None, outcome: str) -> None:
    """One attempt more was made; without `next_at` it was the last."""
    attempt = deliveries.c.attempt + 1
    values = {"delivered": int(delivered), "next_at": None if delivered else next_at, "outcome": one_line(outcome)}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(attempt=attempt, **values))
