"""How much of a request's body is taken: counted as it comes, whatever its headers say.

A body that is too long is refused with 413 and the connection is closed. What is left of a body that nobody read is
taken first, up to the same limit and for a few seconds: a connection that is closed on unread bytes loses the answer.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fantasyid_engine.server.errors import ApiError, answer

DRAIN_S = 3.0


class BodyLimit:
    """ASGI middleware: no more than `most_bytes` of a body reach the application."""

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self.app, self.most_bytes = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body = _Intake(scope, receive, send, self.most_bytes)
        if body.declared is not None and body.declared > self.most_bytes:
            return await answer(too_large(self.most_bytes))(scope, body.receive, body.send)
        await self.app(scope, body.receive, body.send)


def too_large(most_bytes: int) -> ApiError:
    """The answer to a body that is too long."""
    return ApiError(413, "body_too_large", f"the body has more than {most_bytes} bytes, the most that is taken")


class _Intake:
    """One request's body on its way in."""

    def __init__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, most_bytes: int) -> None:
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        self.declared = int(length) if length.isascii() and length.isdigit() else None
        self._unread = bool(self.declared) or "transfer-encoding" in headers
        self._waits = "expect" in headers
        self._receive, self._send = receive, send
        self._most_bytes, self._taken = most_bytes, 0

    async def receive(self) -> Message:
        message = await self._take()
        if self._taken > self._most_bytes:
            raise too_large(self._most_bytes)
        return message

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
