"""Bodies in flight have a bound of their own, and leave room when they are done with, wherever they end."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from fantasyid_engine.server import limits
from fantasyid_engine.server.errors import ApiError, answer
from fantasyid_engine.server.limits import BodyLimit


def chunks(*sizes: int) -> list[Message]:
    return [{"type": "http.request", "body": bytes(size), "more_body": True} for size in sizes]


def body(*sizes: int) -> list[Message]:
    return [*chunks(*sizes), {"type": "http.request", "body": b"", "more_body": False}]


@dataclass
class Exchange:
    """A request with such a body, and what was answered to it."""

    messages: list[Message]
    sent: list[Message] = field(default_factory=list)

    async def receive(self) -> Message:
        while not self.messages:
            await asyncio.sleep(0.001)
        return self.messages.pop(0)

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def ask(self, app: BodyLimit) -> None:
        scope = {"type": "http", "method": "POST", "headers": [(b"transfer-encoding", b"chunked")]}
        await app(scope, self.receive, self.send)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]


@dataclass
class Reads:
    """An application that reads a body, and then does what it is told to."""

    then: Callable[[Request], Awaitable[object]]
    read: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            async for chunk in request.stream():
                self.read += len(chunk)
            await self.then(request)
            await send({"type": "http.response.start", "status": 200, "headers": []})
        except ApiError as error:
            await answer(error)(scope, receive, send)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


async def nothing(_: Request) -> None:
    pass


def test_bodies_that_do_not_fit_together_are_refused_for_now() -> None:
    work = asyncio.Event()

    async def run() -> None:
        reads = Reads(lambda _: work.wait())
        app = BodyLimit(reads, most_bytes=60, most_in_flight=100)
        first, second, third = Exchange(body(30, 30)), Exchange(body(30, 30)), Exchange(body(30, 10))
        working = asyncio.create_task(first.ask(app))
        await _until(lambda: reads.read == 60)
        await second.ask(app)
        headers = dict(second.sent[0]["headers"])
        assert second.status == 503 and headers[b"retry-after"] and headers[b"connection"] == b"close"
        assert b"too_many_bytes" in second.sent[1]["body"]
        working_too = asyncio.create_task(third.ask(app))
        await _until(lambda: reads.read == 60 + 30 + 40)
        assert app.room.free == 0
        work.set()
        await asyncio.gather(working, working_too)
        assert (first.status, third.status, app.room.free) == (200, 200, 100)

    asyncio.run(run())


def test_one_whole_body_is_always_taken() -> None:
    exchange = Exchange(body(60))
    asyncio.run(exchange.ask(BodyLimit(Reads(nothing), most_bytes=60, most_in_flight=10)))
    assert exchange.status == 200


def test_a_body_that_is_done_with_leaves_room_while_its_client_waits() -> None:
    """As `/v1/videos/sync` waits, for as long as a render takes."""
    waiting = asyncio.Event()

    async def until_gone(request: Request) -> None:
        waiting.set()
        await request.receive()

    async def run() -> None:
        app = BodyLimit(Reads(until_gone), most_bytes=100, most_in_flight=100)
        exchange = Exchange(body(100))
        asking = asyncio.create_task(exchange.ask(app))
        await waiting.wait()
        await _until(lambda: app.room.free == 100)
        exchange.messages.append({"type": "http.disconnect"})
        await asking
        assert app.room.free == 100

    asyncio.run(run())


async def broken(_: Request) -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("messages", "then"),
    [
        pytest.param(body(50), broken, id="broken"),
        pytest.param([*chunks(40), {"type": "http.disconnect"}], nothing, id="hung up"),
        pytest.param(body(40, 40), nothing, id="too long"),
    ],
)
def test_however_a_request_ends_there_is_room_afterwards(
    messages: list[Message], then: Callable[[Request], Awaitable[None]]
) -> None:
    app = BodyLimit(Reads(then), most_bytes=50, most_in_flight=100)
    with suppress(ZeroDivisionError, ClientDisconnect):
        asyncio.run(Exchange(messages).ask(app))
    assert app.room.free == 100


def test_a_body_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.05)
    monkeypatch.setattr(limits, "DRAIN_S", 0.05)
    app, exchange = BodyLimit(Reads(nothing), most_bytes=50, most_in_flight=50), Exchange(chunks(10))
    asyncio.run(exchange.ask(app))
    assert exchange.status == 400 and b"body_too_slow" in exchange.sent[1]["body"]
    assert app.room.free == 50
