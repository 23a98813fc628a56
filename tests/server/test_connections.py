"""Connections that say nothing end, and those beyond what there is room for hear so."""

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from fantasyid_engine.server import connections
from fantasyid_engine.server.connections import Connection, most_connections

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def says_hello(_: Scope, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def start() -> Iterator[Callable[[int], int]]:
    """Starts a server that takes so many connections; gives its port."""
    started: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def serve(most: int) -> int:
        listening = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            says_hello, http=Connection, limit_concurrency=most + 1, lifespan="off", log_config=None, loop="uvloop"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        started.append((server, thread, listening))
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        return listening.getsockname()[1]

    yield serve
    for server, thread, listening in started:
        server.should_exit = True
        thread.join(20)
        listening.close()


def answer(connection: socket.socket) -> bytes:
    """Up to the end of the connection."""
    try:
        return b"".join(iter(lambda: connection.recv(65536), b""))
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(
    ("first", "answered"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(HEAD, b"", id="half a head"),
        pytest.param(HEAD + b"\r\n" + HEAD, b"hello", id="half a head after a whole one"),
    ],
)
def test_who_does_not_say_what_it_wants_is_cut_off(
    start: Callable[[int], int], monkeypatch: pytest.MonkeyPatch, first: bytes, answered: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    with socket.create_connection(("127.0.0.1", start(5)), timeout=20) as connection:
        connection.sendall(first)
        assert answer(connection).endswith(answered)


def test_a_body_may_take_longer_than_a_head(start: Callable[[int], int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.3)
    with socket.create_connection(("127.0.0.1", start(5)), timeout=20) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\na")
        time.sleep(0.6)
        connection.sendall(b"b")
        assert answer(connection).endswith(b"hello")


def test_beyond_what_there_is_room_for(start: Callable[[int], int]) -> None:
    port = start(2)
    url = f"http://127.0.0.1:{port}/"
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)) as last:
        assert httpx.get(url, trust_env=False).status_code == 503
        last.close()
        until = time.monotonic() + 20
        while httpx.get(url, trust_env=False).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_as_many_files_as_the_system_lets_it_have() -> None:
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before, 256), most))
        assert most_connections(10) == 10
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
        assert most_connections(10**9) == most // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
