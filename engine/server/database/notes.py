"""Single values that the store keeps by name: the number of its tables, facts of the last model."""

from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, insert, select, update

from fantasyid_engine.server.database.tables import meta
from fantasyid_engine.server.messages import Facts

FACTS_NOTE = "facts"


def read_note(connection: Connection, name: str) -> Any:
    """A value, or None."""
    return connection.execute(select(meta.c.value).where(meta.c.name == name)).scalar_one_or_none()


def write_note(connection: Connection, name: str, value: Any) -> None:
    """Keeps a value that JSON can hold, in the place of an earlier one."""
    if not connection.execute(update(meta).where(meta.c.name == name).values(value=value)).rowcount:
        connection.execute(insert(meta).values(name=name, value=value))


def keep_facts(connection: Connection, facts: Facts) -> None:
    """Keeps the facts of a model."""
    write_note(connection, FACTS_NOTE, TypeAdapter(Facts).dump_python(facts, mode="json"))


def kept_facts(connection: Connection) -> Facts | None:
    """The facts that were kept last; None for none, or for what another version kept."""
    try:
        return TypeAdapter(Facts).validate_python(read_note(connection, FACTS_NOTE))
    except ValidationError:
        return None
