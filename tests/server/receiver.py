"""An HTTP server on this machine that counts connections, keeps what it was sent, and answers as it is told."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6
from typing import Any


@dataclass(frozen=True)
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    names: list[str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """`endless` repeats the body until the client has enough; `held` waits before anything is said."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    endless: bool = False
    held: bool = False


@dataclass
class Receiver:
    """Answers with the next of `answers`, and 200 when none is left."""

    port: int = 0
    connections: int = 0
    requests: list[Seen] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiver(host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Listens at `host` while the context is open."""
    state = Receiver()
    server = _Server((host, port), _handler(state), lambda: _count(state), AF_INET6 if ":" in host else AF_INET)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        state.released.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _count(state: Receiver) -> None:
    state.connections += 1


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, at: tuple[str, int], handler: Any, on_connection: Callable[[], None], family: int) -> None:
        self.address_family = family
        self._on_connection = on_connection
        super().__init__(at, handler)

    def get_request(self) -> Any:
        accepted = super().get_request()
        self._on_connection()
        return accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients that go away are part of the tests


def _handler(state: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = [(name.lower(), value) for name, value in self.headers.items()]
            state.requests.append(Seen(self.command, self.path, dict(headers), [name for name, _ in headers], body))
            answer = state.answers.pop(0) if state.answers else Answer()
            state.arrived.set()
            if answer.held:
                state.released.wait(20)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)
            with suppress(OSError):
                while answer.endless and not state.released.is_set():
                    self.wfile.write(answer.body)

        do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
