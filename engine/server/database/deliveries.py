"""Webhooks that are to be delivered: made in the transaction that ends their job, so that none is lost or made up."""

import secrets

from sqlalchemy import Connection, insert, select, update

from fantasyid_engine.errors import one_line
from fantasyid_engine.server.database.tables import deliveries
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.webhooks import Delivery, event_body


def add(connection: Connection, job: Job, now: float) -> None:
    """Makes the delivery of a job that has just ended, if anybody wants to be told."""
    if job.webhook_url is None:
        return
    assert job.state == "completed" or job.state == "failed", "others have no event"
    body = event_body(job.id, job.state, job.error_code, now)
    name = f"msg_{secrets.token_hex(16)}"
    connection.execute(insert(deliveries).values(id=name, job_id=job.id, url=job.webhook_url, body=body, next_at=now))


def due(connection: Connection, now: float, limit: int) -> list[Delivery]:
    """Up to `limit` deliveries whose time has come, those that wait longest first."""
    columns = (deliveries.c.id, deliveries.c.url, deliveries.c.body, deliveries.c.attempt)
    waiting = select(*columns).where(deliveries.c.next_at <= now)
    rows = connection.execute(waiting.order_by(deliveries.c.next_at, deliveries.c.id).limit(limit))
    return [Delivery(*row) for row in rows]


def record(connection: Connection, delivery_id: str, delivered: bool, next_at: float | None, outcome: str) -> None:
    """One attempt more was made; without `next_at` it was the last."""
    attempt = deliveries.c.attempt + 1
    values = {"delivered": int(delivered), "next_at": None if delivered else next_at, "outcome": one_line(outcome)}
    connection.execute(update(deliveries).where(deliveries.c.id == delivery_id).values(attempt=attempt, **values))
