"""How many jobs wait for each key: counted as they come and go, in the transaction that moves them."""

from sqlalchemy import Connection, bindparam, func, select, update

from fantasyid_engine.server.database.tables import jobs, queues

# Put together once: that takes longer than to run it.
MOVED = update(queues).where(queues.c.key_id == bindparam("key")).values(waiting=queues.c.waiting + bindparam("by"))


def entered(connection: Connection, key_id: str) -> None:
    """A job of this key waits again."""
    connection.execute(MOVED, {"key": key_id, "by": 1})


def count_anew(connection: Connection) -> None:
    """Counts all that wait: nothing that was ever done to the file keeps the numbers wrong."""
    waits = (jobs.c.state == "queued", jobs.c.key_id == queues.c.key_id)
    number = select(func.count()).select_from(jobs).where(*waits).scalar_subquery()
    connection.execute(update(queues).values(waiting=number))


def left(connection: Connection, key_id: str) -> None:
    """A job of this key waits no longer."""
    connection.execute(MOVED, {"key": key_id, "by": -1})
