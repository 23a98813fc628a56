"""Every request counted, timed and logged, under an id of its own; and an answer to what nobody foresaw.

The id goes back in `x-request-id`, and is on every line that is logged meanwhile. What is logged of a request is its
route's template and never its path.
"""

import secrets
import time

import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fantasyid_engine.server.errors import answer, internal, mapped
from fantasyid_engine.server.logs import get_log
from fantasyid_engine.server.metrics import Metrics

QUIET = ("/livez", "/readyz", "/metrics")
"""Routes that are asked every few seconds."""


class Observe:
    """ASGI middleware, outermost of all."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request_id, began = f"req_{secrets.token_hex(12)}", time.perf_counter()
        status: int | None = None

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, watched)
            except Exception as error:
                told = mapped(error)
                if told is None:
                    get_log().exception("request_failed")
                if status is None:  # else the connection ends here, which tells the client
                    await answer(told or internal())(scope, receive, watched)
            finally:
                self._record(scope, status, time.perf_counter() - began)

    def _record(self, scope: Scope, status: int | None, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", None)
        self.metrics.request(scope["method"], route, status or 0, seconds)
        if route not in QUIET:
            get_log().info("request", method=scope["method"], route=route, status=status, seconds=round(seconds, 4))
