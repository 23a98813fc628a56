"""API keys. A token is 256 random bits, shown once; only its SHA-256 is kept, and no salt is needed for so many bits.

A token is found by its hash; how long that takes tells nothing of a key: nobody can choose what a hash begins with.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.server.database.tables import api_keys

PREFIX = "fid_"
TOKEN = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{43}}")
MOST_NAME = 100
"""Characters of a key's name."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """Who may ask.

    Attributes:
        id: `key_` and 16 hexadecimal digits; whose jobs are whose goes by it.
        name: for people.
        created_at: seconds since 1970.
        revoked_at: since when it is refused; None while it is good.
        max_queued: jobs of it that may wait; None leaves that to the server.
    """

    id: str
    name: str
    created_at: float
    revoked_at: float | None
    max_queued: int | None


COLUMNS = (
    api_keys.c.id,
    api_keys.c.name,
    api_keys.c.created_at,
    api_keys.c.revoked_at,
    api_keys.c.max_queued,
)


def add(connection: Connection, name: str, now: float, max_queued: int | None) -> tuple[ApiKey, str]:
    """Makes a key; returns it and its token.

    Raises:
        InputError: `key_name`, no name, too long, not printable, or like an id; `key_exists`, a good key has this name.
    """
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable() or name.startswith("key_"):
        allowed = f"1 to {MOST_NAME} printable characters that do not begin with key_"
        raise InputError("key_name", f"{one_line(name)!r} is no name of a key; it must be {allowed}")
    if _one(connection, api_keys.c.name == name, api_keys.c.revoked_at.is_(None)) is not None:
        raise InputError("key_exists", f"there is a key {name!r} already; revoke it first, or name another")
    token = PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(f"key_{secrets.token_hex(8)}", name, now, None, max_queued)
    values = {column.name: getattr(key, column.name) for column in COLUMNS}
    connection.execute(insert(api_keys).values(sha256=_sha256(token), **values))
    return key, token


def find(connection: Connection, token: str) -> ApiKey | None:
    """The key of a token; None for one that is unknown or revoked."""
    if not TOKEN.fullmatch(token):
        return None
    return _one(connection, api_keys.c.sha256 == _sha256(token), api_keys.c.revoked_at.is_(None))


def every(connection: Connection) -> list[ApiKey]:
    """All keys, revoked ones too, the oldest first."""
    return [ApiKey(*row) for row in connection.execute(select(*COLUMNS).order_by(api_keys.c.created_at, api_keys.c.id))]


def revoke(connection: Connection, name_or_id: str, now: float) -> ApiKey | None:
    """Ends a key, by its id or the name of a good one; None where there is none. One that is revoked stays so."""
    good = api_keys.c.revoked_at.is_(None)
    key = _one(connection, or_(api_keys.c.id == name_or_id, (api_keys.c.name == name_or_id) & good))
    if key is None or key.revoked_at is not None:
        return key
    connection.execute(update(api_keys).where(api_keys.c.id == key.id).values(revoked_at=now))
    return replace(key, revoked_at=now)


def _one(connection: Connection, *conditions: ColumnElement[bool]) -> ApiKey | None:
    row = connection.execute(select(*COLUMNS).where(*conditions)).one_or_none()
    return None if row is None else ApiKey(*row)


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
