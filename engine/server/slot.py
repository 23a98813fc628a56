"""A place for a worker on one device: processes follow each other in it, each renders jobs until it ends.

    starting -> idle <-> busy -> (died) restarting -> starting ...          1 s, 2 s, ... 60 s between two
        |
        +-- refused, or dead three times before it was ever ready -> quarantined

Before the job of a process is given to another it is dead for sure: two never write to one state.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress

from fantasyid_engine.errors import OutputError
from fantasyid_engine.server.attempt import Attempt
from fantasyid_engine.server.books import Books
from fantasyid_engine.server.events import WorkerState, WorkerStatus
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.messages import Facts, Forget, Ready, Refused
from fantasyid_engine.server.process import Died, Launch, Woken, WorkerProcess
from fantasyid_engine.server.rendering import Rendering

LOOK_S = 5.0
"""An idle worker looks for jobs this often, although it is told of each."""
LEAVE_S = 5.0
LEAST_BACKOFF_S, MOST_BACKOFF_S = 1.0, 60.0
MOST_DEATHS = 3
"""In a row, before a process was ever ready."""


class Slot:
    """See above. For one loop, that it is made on."""

    def __init__(self, name: str, launch: Launch, books: Books, on_ready: Callable[[Facts], None]) -> None:
        self.refused: Refused | None = None
        self.state: WorkerState = "starting"
        self._name, self._launch, self._books, self._on_ready = name, launch, books, on_ready
        self._loop = asyncio.get_running_loop()
        self._process: WorkerProcess | None = None
        self._rendering: Rendering | None = None
        self._last: Job | None = None
        self._facts: Facts | None = None
        self._claiming, self._revoked = False, set[str]()
        self._save_at = float("inf")
        self._starts, self._deaths, self._backoff_s = 0, 0, LEAST_BACKOFF_S

    # What the pool asks and tells.

    @property
    def status(self) -> WorkerStatus:
        """As it is now; may be asked from any thread."""
        rendering, process = self._rendering, self._process
        return WorkerStatus(
            name=self._name,
            device=self._launch.device,
            state=self.state,
            job_id=None if rendering is None else rendering.attempt.job.id,
            restarts=max(0, self._starts - 1),
            pid=None if process is None else process.pid,
        )

    def wake(self) -> None:
        """A job was made."""
        if self._process is not None:
            self._process.wake()

    def cancel(self, job_id: str) -> None:
        """Stops the job, where it is here."""
        if self._rendering is not None and self._rendering.attempt.job.id == job_id:
            self._rendering.cancel()
        elif self._claiming:  # it may be this one that is being claimed
            self._revoked.add(job_id)

    def forget(self) -> None:
        """Tells the worker to let go of faces and prompts."""
        if self._process is not None:
            self._process.send(Forget())

    def drain(self, save_at: float) -> None:
        """The server is being stopped; a render may go on until `save_at` of the loop's clock."""
        self._save_at = save_at
        if self._rendering is not None:
            self._rendering.save_at = save_at
        self.wake()

    # One process after the other.

    async def run(self) -> None:
        """Until the server is being stopped, or no process can start."""
        stopping = self._books.stopping
        try:
            while not stopping.is_set():
                await self._one_process()
                if stopping.is_set() or self.state == "quarantined":
                    break
                self._turn("restarting")
                with suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), self._backoff_s)
                self._backoff_s = min(2 * self._backoff_s, MOST_BACKOFF_S)
        finally:
            if self._process is not None:
                await self._process.end()
                self._process = None
            if self.state != "quarantined":
                self._turn("stopped")

    async def _one_process(self) -> None:
        """From its start to its end."""
        try:
            process = self._process = await self._start()
            await self._until_ready(process)
            while (job := await self._claim(process)) is not None:
                await self._render(job, process)
            await process.leave(LEAVE_S)
        except Exception as error:  # whatever it is, this place must go on
            if not isinstance(error, Died):
                self._books.events.trouble(f"worker {self._name}", error)
            await self._bury(str(error))
        self._process = None

    async def _start(self) -> WorkerProcess:
        self._turn("starting")
        self._starts += 1
        self._deaths += 1
        self.refused = None
        return await WorkerProcess.start(self._launch, self._log)

    async def _until_ready(self, process: WorkerProcess) -> None:
        """Raises Died where that takes too long, where it refuses, and where it is wanted no more."""
        timeout_s = self._books.settings.start_timeout_s
        while True:
            match await process.next(process.began + timeout_s):
                case None:
                    raise Died(f"it was not ready after {timeout_s:g} s")
                case Ready(facts=facts):
                    self._deaths, self._facts = 0, facts
                    self._on_ready(facts)
                    return
                case Refused() as refused:
                    self.refused = refused
                    raise Died(f"it refused to start: {refused.message}")
                case Woken() if self._books.stopping.is_set():
                    raise Died("the server is being stopped")

    async def _bury(self, why: str) -> None:
        exit_code = None if self._process is None else await self._process.end()
        if self._books.stopping.is_set():
            return
        self._books.events.worker_ended(self._name, why, exit_code)
        # A refusal of the first process will be one of all; a worker that was ready once may be so again.
        if self._facts is None and (self.refused is not None or self._deaths >= MOST_DEATHS):
            self._turn("quarantined")

    # Jobs.

    async def _claim(self, process: WorkerProcess) -> Job | None:
        """The next job; None where there is to be none."""
        self._turn("idle")
        while not self._books.stopping.is_set():
            self._claiming = True
            try:
                job = await self._books.claim(self._name, self._last)
            finally:
                self._claiming = False
            if job is not None:
                return job
            self._revoked.clear()
            await process.next(self._loop.time() + LOOK_S, self._books.settings.lease_s)
        return None

    async def _render(self, job: Job, process: WorkerProcess) -> None:
        books = self._books
        attempt = Attempt.of(job, self._facts.num_inference_steps if self._facts else 1, time.time())
        rendering = self._rendering = Rendering(self._name, process, attempt, books, self._save_at)
        began, revoked = self._loop.time(), job.id in self._revoked
        self._revoked.clear()
        self._turn("busy")
        try:
            if revoked or books.stopping.is_set():
                await books.returned(attempt, "the server is being stopped", died=False)
            elif await rendering.run():
                self._last, self._backoff_s = job, LEAST_BACKOFF_S
        except OutputError as error:
            books.events.trouble("render", error)
            await asyncio.sleep(LEAST_BACKOFF_S)
            await books.returned(attempt, "its files cannot be written", died=False)
        except Exception as error:
            await process.end()
            await books.returned(attempt, str(error), died=not books.stopping.is_set())
            raise
        finally:
            self._rendering = None
            books.events.worker_busy(self._name, self._loop.time() - began)
            books.hub.update(job.id, None)

    def _log(self, text: str) -> None:
        self._books.events.worker_line(self._name, text)

    def _turn(self, state: WorkerState) -> None:
        self.state = state
        self._books.events.worker_state(self.status)
