"""Connections: how many there may be, and how long one may take to say what it wants.

    more than `most_connections`     each request is answered with 503, by uvicorn and in plain text
    no whole head after `HEAD_S`     closed, or whoever opens many and says nothing would be all that there is room for

An idle connection after its first answer is closed by uvicorn itself, a body that does not come by `limits`.
"""

import asyncio
import resource
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_S = 20.0
"""From opening, or a head's first byte, to its last."""


class Connection(HttpToolsProtocol):
    """One that is not waited for without end."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """It is open; its first head is awaited."""
        super().connection_made(transport)
        self._head_due = self.loop.call_later(HEAD_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed."""
        self._head_due.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._head_due.cancel()
        self._head_due = self.loop.call_later(HEAD_S, self.transport.abort)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """A head is whole."""
        self._head_due.cancel()
        super().on_headers_complete()


def most_connections(wanted: int) -> int:
    """How many there may be: those that are wanted, if they take no more than half of the files of this process.

    It may have as many files open afterwards as the system lets it.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(wanted, files // 2)
