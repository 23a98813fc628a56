"""A server from its start to its end.

    SIGTERM or SIGINT -> no new jobs, answers go on -> renders end or are saved -> workers leave -> it stops

Asked twice it stops at once.
"""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager

import uvicorn
import uvloop
from fastapi import FastAPI

from fantasyid_engine.errors import ConfigError, EngineError
from fantasyid_engine.server.access import public_names
from fantasyid_engine.server.app import STORE, make_app
from fantasyid_engine.server.connections import Connection, most_connections
from fantasyid_engine.server.logs import configure_logs
from fantasyid_engine.server.pool import Pool
from fantasyid_engine.server.service import Service
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Store

BACKLOG = 512
LAST_WORDS_S = 5
"""Seconds that answers under way have when all else is done."""
LOOK_S = 0.1


def run(settings: Settings, *, tell: Callable[[str], None], command: Sequence[str] | None = None) -> None:
    """Serves until it is asked to stop.

    Args:
        settings: of the server.
        tell: takes lines for the operator; what happens to jobs is logged on standard error.
        command: what starts a worker instead of the product's own; for benchmarks and tests.

    Raises:
        ConfigError: the address cannot be listened on, or others can reach the server and there is no API key; the data
            folder is another server's, or of a newer version.
        OutputError: the data folder cannot be written.
        EngineError: no worker can start; with the exit code that it left with.
    """
    configure_logs(sys.stderr, redact_prompts=not settings.log_prompts)
    with _listening(settings) as listener:
        _check_key(settings)
        host, port = listener.getsockname()[:2]
        tell(f"serving {settings.model} on http://{f'[{host}]' if ':' in host else host}:{port}")
        app = make_app(settings, command=command)
        server = _Server(
            uvicorn.Config(
                app,
                http=Connection,
                limit_concurrency=most_connections(settings.max_connections) + 1,  # it counts the one that asks
                lifespan="off",  # it is entered below, so that its errors are ours
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=LAST_WORDS_S,
            )
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(app, server, listener, tell))


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: FastAPI, server: uvicorn.Server, listener: socket.socket, tell: Callable[[str], None]) -> None:
    began, stop, loop = time.monotonic(), _Stop(), asyncio.get_running_loop()
    async with app.router.lifespan_context(app):
        service: Service = app.state.service
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, stop.ask)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        refused = asyncio.create_task(_refused(service.pool))
        ready = asyncio.create_task(_ready(service.pool))
        ready.add_done_callback(lambda task: task.cancelled() or tell(f"ready after {time.monotonic() - began:.1f} s"))
        asked = asyncio.create_task(stop.asked.wait())
        try:
            await asyncio.wait((serving, refused, asked), return_when=asyncio.FIRST_COMPLETED)
            if asked.done():
                tell("stopping: renders end or are saved; once more stops at once")
                await _drain(service, stop)
            if refused.done():
                refused.result()
        finally:
            for task in (refused, ready, asked):
                task.cancel()
            server.should_exit = True
            await serving


class _Stop:
    """How often it was asked to stop."""

    def __init__(self) -> None:
        self.asked, self.hurry = asyncio.Event(), asyncio.Event()

    def ask(self) -> None:
        if self.asked.is_set():
            self.hurry.set()
        self.asked.set()


async def _drain(service: Service, stop: _Stop) -> None:
    draining, hurry = asyncio.create_task(service.drain()), asyncio.create_task(stop.hurry.wait())
    await asyncio.wait((draining, hurry), return_when=asyncio.FIRST_COMPLETED)
    if hurry.done():
        await service.pool.kill()
    hurry.cancel()
    await draining


async def _refused(pool: Pool) -> None:
    """Raises what keeps every worker from starting."""
    while pool.refusal is None:
        await asyncio.sleep(LOOK_S)
    error = EngineError(pool.refusal.message)
    error.exit_code = pool.refusal.exit_code
    raise error


async def _ready(pool: Pool) -> None:
    while not pool.ready:
        await asyncio.sleep(LOOK_S)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    address = f"{settings.host}:{settings.port}"
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, place = found[0]
        listener = socket.create_server(place[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ConfigError(f"cannot listen on {address}: {error.strerror}; name another --host or --port") from None
    with listener:
        # Else answers wait for the client's acknowledgement, some 40 ms; connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _check_key(settings: Settings) -> None:
    """Others than this machine's users are let in by keys alone."""
    names = public_names(settings)
    if not names:
        return
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with closing(Store(settings.data / STORE)) as store:
        keys = store.keys()
        if all(key.revoked_at is not None for key in keys):
            raise ConfigError(
                f"others can reach {names[0]}, and there is no API key; fantasyid-engine serve keys create NAME makes "
                "one, or listen on 127.0.0.1 without allowed_hosts"
            )
