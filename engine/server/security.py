"""What a browser could be made to do to this server, and does not get to.

    Host      another name than this server's: a page whose name was made to lead here (DNS rebinding)     421
    Origin    a request that changes something, from a page of another server (CSRF)                       403
    headers   no scripts but the page's own, no frames, no guessed types, no referrer, nothing cached

An address that is a number cannot be rebound, so it is always a name of this server.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fantasyid_engine.server.errors import ApiError, answer

AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{1,5}))?")
ORIGIN = re.compile(r"(https?)://(.+)")
SAFE = ("GET", "HEAD", "OPTIONS")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Guard:
    """ASGI middleware: refuses what comes from elsewhere, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self.app = app
        self.names = frozenset(name.lower().rstrip(".") for name in (*names, "localhost"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refused = self._refusal(scope["method"], Headers(scope=scope))
        await (self.app if refused is None else answer(refused))(scope, receive, with_headers)

    def _refusal(self, method: str, headers: Headers) -> ApiError | None:
        host = _authority(headers.get("host", ""))
        if host is None or not self._is_ours(host[0]):
            message = "this server does not go by the name in the Host header; allowed_hosts in its settings adds one"
            return ApiError(421, "host_not_allowed", message)
        if method not in SAFE and not _from_here(headers, host):
            return ApiError(403, "origin_not_allowed", "the request comes from a page of another server")
        return None

    def _is_ours(self, name: str) -> bool:
        if name.rstrip(".") in self.names:
            return True
        with suppress(ValueError):
            ip_address(name.strip("[]"))
            return True
        return False


def _authority(text: str) -> tuple[str, str] | None:
    """Host, in lower case, and port, "" where none is named."""
    match = AUTHORITY.fullmatch(text)
    return None if match is None else (match[1].lower(), match[2] or "")


def _from_here(headers: Headers, host: tuple[str, str]) -> bool:
    """Whether no page of another server sent this; programs that are no browsers send no origin."""
    origin = headers.get("origin")
    if origin is None:
        return headers.get("sec-fetch-site", "none") in ("none", "same-origin")
    match = ORIGIN.fullmatch(origin)
    sender = match and _authority(match[2])
    if match is None or not sender:
        return False
    usual = {"http": "80", "https": "443"}[match[1]]
    # Behind a proxy that ends TLS, the port that the browser left out is https's and not this server's.
    return sender[0] == host[0] and (sender[1] or usual) == (host[1] or usual)
