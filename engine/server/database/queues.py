"""How many jobs wait for each key: counted as they come and go, in the transaction that moves them."""

from sqlalchemy import Connection, bindparam, update

from fantasyid_engine.server.database.tables import queues

# Put together once: that takes longer than to run it.
MOVED = update(queues).where(queues.c.key_id == bindparam("key")).values(waiting=queues.c.waiting + bindparam("by"))


def entered(connection: Connection, key_id: str) -> None:
    """A job of this key waits again."""
    connection.execute(MOVED, {"key": key_id, "by": 1})


def left(connection: Connection, key_id: str) -> None:
    """A job of this key waits no longer."""
    connection.execute(MOVED, {"key": key_id, "by": -1})
