"""Who asks: an API key's owner, or anybody on a server that has no keys.

A server that has had a key once always asks for one, as does one that others than its own machine can reach: by its
address, or by a proxy in front of it, of which the names in `allowed_hosts` tell.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from fantasyid_engine.server.errors import ApiError
from fantasyid_engine.server.jobs import LOCAL
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Store

REMEMBERED_S = 1.0
"""A first key that is made while a server runs counts after this at the latest; one that is revoked, at once."""
bearer = HTTPBearer(auto_error=False, scheme_name="API key", description="`Authorization: Bearer fid_...`")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks; sees only jobs of `key_id`. `max_queued` None is the server's."""

    key_id: str
    max_queued: int | None = None


def public_names(settings: Settings) -> list[str]:
    """Where a server listens and what it goes by, as far as others than this machine can mean it."""
    return [name for name in (settings.host, *settings.allowed_hosts) if not _is_this_machine(name)]


def _is_this_machine(name: str) -> bool:
    with suppress(ValueError):
        return ip_address(name.strip("[]")).is_loopback
    return name == "localhost"


class Access:
    """Tells callers by their keys."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._needs_key = bool(public_names(settings))
        self._open_since = -REMEMBERED_S

    def recall(self) -> Caller | None:
        """Anybody, where no key was needed within the last second; None where that is to be looked up."""
        return Caller(LOCAL) if time.monotonic() - self._open_since < REMEMBERED_S else None

    def caller(self, token: str | None) -> Caller:
        """Who has this key; blocks.

        Raises:
            ApiError: nobody, where a key is needed.
        """
        if not self._needs_key:
            # Never back again: when the last key is revoked, nobody may ask.
            self._needs_key = bool(self._store.keys())
        if not self._needs_key:
            self._open_since = time.monotonic()
            return Caller(LOCAL)
        key = self._store.find_key(token) if token else None
        if key is None:
            said = "is not valid here" if token else "is missing"
            raise ApiError(
                401,
                "invalid_api_key",
                f"the API key {said}; send one as Authorization: Bearer fid_...",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return Caller(key.id, key.max_queued)


async def _caller(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]
) -> Caller:
    access: Access = request.app.state.access
    return access.recall() or await asyncio.to_thread(access.caller, credentials and credentials.credentials)


Asking = Annotated[Caller, Depends(_caller)]
"""A parameter of routes that only callers may use."""
