"""How much of a request's body is taken, and of all bodies at once: counted as they come, whatever their headers say.

A body that is too long is refused with 413 and the connection is closed. What is left of a body that nobody read is
taken first, up to the same limit and for a few seconds: a connection that is closed on unread bytes loses the answer.

A body counts towards those in flight until its request ends, or does nothing more but wait for its client to leave. One
for which there is no room is refused with 503, one that does not come to its end in time with 400: it would keep the
room from others.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fantasyid_engine.server.errors import ApiError, answer, bad, later

BODY_S = 300.0
"""From a request's start to its body's end."""
DRAIN_S = 3.0


class BodyLimit:
    """ASGI middleware: no more than `most_bytes` of a body reach the application, `most_in_flight` of all at once."""

    def __init__(self, app: ASGIApp, most_bytes: int, most_in_flight: int = 256 << 20) -> None:
        self.app, self.most_bytes = app, most_bytes
        self.room = _Room(max(most_in_flight, most_bytes))  # else some would never be taken

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = _Intake(scope, receive, send, self.most_bytes, self.room)
        if body.declared is not None and body.declared > self.most_bytes:
            return await answer(too_large(self.most_bytes))(scope, body.receive, body.send)
        try:
            await self.app(scope, body.receive, body.send)
        finally:
            body.let_go()


def too_large(most_bytes: int) -> ApiError:
    """The answer to a body that is too long."""
    return ApiError(413, "body_too_large", f"the body has more than {most_bytes} bytes, the most that is taken")


class _Room:
    """Bytes that may be in flight yet."""

    def __init__(self, free: int) -> None:
        self.free = free

    def take(self, size: int) -> None:
        """Raises ApiError where there is no room."""
        if size > self.free:
            raise later("too_many_bytes", "the server has as many bytes of other requests as it takes; try again")
        self.free -= size


class _Intake:
    """One request's body on its way in."""

    def __init__(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, most_bytes: int, room: _Room
    ) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self.declared = int(length) if length.isascii() and length.isdigit() else None
        self._unread = bool(self.declared) or "transfer-encoding" in headers
        self._waits = "expect" in headers
        self._receive, self._send = receive, send
        self._most_bytes, self._taken = most_bytes, 0
        self._room, self._in_flight = room, 0
        self._until = asyncio.get_running_loop().time() + BODY_S

    async def receive(self) -> Message:
        if not self._unread:  # there is nothing more to come but that the client leaves
            self.let_go()
            return await self._take()
        try:
            async with asyncio.timeout_at(self._until):
                message = await self._take()
        except TimeoutError:
            raise bad("body_too_slow", f"the body did not come to its end within {BODY_S:g} seconds") from None
        if self._taken > self._most_bytes:
            raise too_large(self._most_bytes)
        size = len(message.get("body", b""))
        self._room.take(size)
        self._in_flight += size
        return message

    def let_go(self) -> None:
        """Its bytes are no longer in flight."""
        self._room.free += self._in_flight
        self._in_flight = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and self._unread:
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
            if not self._waits:  # who waits for leave to send is not given it
                await self._drain()
        await self._send(message)

    async def _take(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self._waits = False
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._unread = False
        return message

    async def _drain(self) -> None:
        most = self._taken + self._most_bytes
        try:
            async with asyncio.timeout(DRAIN_S):
                while self._unread and self._taken < most:
                    await self._take()
        except TimeoutError:
            pass
