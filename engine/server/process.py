"""One worker process as the server sees it: what it says, what it is told, what it writes to its log, its end.

    server -> worker    lines of JSON over a socket whose number the worker is told (--fd)
    worker -> server    the same; and standard output and error together, which are the operator's log

It is the leader of its own group of processes: an interrupt at the operator's terminal does not reach it, and whatever
it has started ends with it.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fantasyid_engine.errors import one_line
from fantasyid_engine.server.devices import place
from fantasyid_engine.server.messages import MAX_LINE_BYTES, Alive, FromWorker, from_worker, line

COMMAND = (sys.executable, "-m", "fantasyid_engine.server.worker")
MOST_LINE = 2_000
"""Characters of a line of a worker's log."""
LAST_WORDS_S = 2.0
"""How long what a dead process wrote is read: somebody else may hold its end of the pipe."""


class Died(Exception):
    """The process is gone, or as good as gone."""


@dataclass(frozen=True, slots=True)
class Woken:
    """Something may have to be done: a job was made, or the server is being stopped."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more is heard of the process."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How workers are started.

    Attributes:
        command: what is run; its options are added.
        model: preset or model folder.
        device: as the server counts devices.
        precision: of the networks' numbers.
        faces: folder of faces that were read.
    """

    command: Sequence[str]
    model: str
    device: str
    precision: str
    faces: str


class WorkerProcess:
    """A process that was started; see `start`. For one loop."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process, self._reader, self._writer = process, reader, writer
        self._inbox: asyncio.Queue[FromWorker | Woken | Ended] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.began = self._heard = self._loop.time()
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def start(cls, launch: Launch, log: Callable[[str], None]) -> "WorkerProcess":
        """Starts a worker; `log` is called with each line of its standard output and error.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                process = await _spawn(launch, theirs.fileno())
            except OSError:
                ours.close()
                raise
        reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        worker = cls(process, reader, writer)
        worker._tasks = [asyncio.create_task(worker._hear()), asyncio.create_task(worker._forward(log))]
        return worker

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def send(self, message: Any) -> None:
        """One message; to a process that is gone, nothing is said."""
        if not self._writer.is_closing():
            self._writer.write(line(message))

    def wake(self) -> None:
        """Whoever waits in `next` gets `Woken`."""
        self._inbox.put_nowait(Woken())

    async def next(self, until: float, silence_s: float = float("inf")) -> FromWorker | Woken | None:
        """What it says next, but for being alive; None at `until` of the loop's clock.

        Raises:
            Died: it has ended, said what is no message, or nothing for `silence_s`.
        """
        try:
            async with asyncio.timeout_at(min(until, self._heard + silence_s)):
                item = await self._inbox.get()
        except TimeoutError:
            if self._loop.time() - self._heard >= silence_s:
                raise Died(f"it said nothing for {silence_s:g} s") from None
            return None
        if isinstance(item, Ended):
            raise Died(item.why)
        return item

    async def end(self) -> int:
        """Kills it, with all that it has started, and lets go of it; returns its exit code, negative for a signal."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._writer.close()
        code = await self._process.wait()
        _, hanging = await asyncio.wait(self._tasks, timeout=LAST_WORDS_S)
        for task in hanging:
            task.cancel()
        with suppress(OSError):
            await self._writer.wait_closed()
        return code

    async def leave(self, patience_s: float) -> int:
        """Closes the socket, upon which a worker ends by itself; kills one that does not."""
        self._writer.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), patience_s)
        return await self.end()

    async def _hear(self) -> None:
        why = "it closed its socket"
        try:
            while (data := await self._reader.readline()).endswith(b"\n"):
                message = from_worker.validate_json(data)
                self._heard = self._loop.time()
                if not isinstance(message, Alive):
                    self._inbox.put_nowait(message)
        except ValidationError:
            why = "it said what is no message"
        except ValueError:
            why = f"it said a line of more than {MAX_LINE_BYTES} bytes"
        except OSError as error:
            why = f"its socket broke: {error.strerror}"
        self._inbox.put_nowait(Ended(why))

    async def _forward(self, log: Callable[[str], None]) -> None:
        """Lines are cut where they are too long, so that a worker that writes no end fills no memory."""
        assert self._process.stdout is not None
        rest = b""
        while data := await self._process.stdout.read(1 << 16):
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                log(_shown(text))
            if len(rest) > 4 * MOST_LINE:
                log(_shown(rest))
                rest = b""
        if rest:
            log(_shown(rest))


async def _spawn(launch: Launch, descriptor: int) -> asyncio.subprocess.Process:
    device, environment = place(launch.device, os.environ)
    options = {
        "--fd": str(descriptor),
        "--model": launch.model,
        "--device": device,
        "--precision": launch.precision,
        "--faces": launch.faces,
    }
    return await asyncio.create_subprocess_exec(
        *launch.command,
        *(word for option in options.items() for word in option),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        pass_fds=(descriptor,),
        start_new_session=True,
    )


def _shown(text: bytes) -> str:
    return one_line(text.decode(errors="replace").rstrip("\r"))[:MOST_LINE]
