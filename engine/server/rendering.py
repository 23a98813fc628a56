"""A worker renders a job, from the server's side: what it is sent, what is made of what it says, when it has lost."""

import asyncio
import time

from fantasyid_engine.errors import OUT_OF_MEMORY
from fantasyid_engine.server.attempt import Attempt
from fantasyid_engine.server.books import Books
from fantasyid_engine.server.messages import (
    Cancel,
    Done,
    Failed,
    FromWorker,
    Preview,
    Progress,
    Render,
    SaveAndStop,
    Saved,
    Stopped,
)
from fantasyid_engine.server.process import Died, Woken, WorkerProcess

STOP_S = 60.0
"""A worker that was told to save its render has this long for the step under way and the writing."""


class Rendering:
    """One attempt, in one process."""

    def __init__(self, worker: str, process: WorkerProcess, attempt: Attempt, books: Books, save_at: float) -> None:
        """`worker` is the name of the place; at `save_at` of the loop's clock the render is saved and stopped."""
        self.attempt, self.save_at = attempt, save_at
        self._worker, self._process, self._books = worker, process, books
        self._settings, self._events, self._loop = books.settings, books.events, asyncio.get_running_loop()
        self._extend_at = self._loop.time() + self._settings.lease_s / 4
        self._stuck_at = self._loop.time() + self._settings.step_timeout_s

    async def run(self) -> bool:
        """Until the attempt has ended, one way or another; True for a video.

        Raises:
            Died: the process has ended, or must.
            OutputError: there is no place to render to.
        """
        attempt, books = self.attempt, self._books
        await self._send()
        self._events.job_started(attempt.job, self._worker, time.time())
        books.hub.update(attempt.job.id, attempt.live)
        while True:
            save_at = float("inf") if attempt.told_to_stop else self.save_at
            until = min(self._extend_at, self._stuck_at, save_at)
            match await self._process.next(until, self._settings.lease_s):
                case Done(lease=attempt.lease) as done:
                    self._events.stage(attempt.job, *attempt.end_stage(attempt.live.stage, time.time()))
                    await books.done(attempt, done)
                    return True
                case Failed(lease=attempt.lease) as failed:
                    if failed.code == "out_of_memory":
                        self._events.out_of_memory(attempt.job, self._worker)
                    await books.failed(attempt, failed)
                    return False
                case Stopped(lease=attempt.lease):
                    await books.returned(attempt, "the server is being stopped", died=False)
                    return False
                case message:
                    await self._hear(message)
            await self._look()

    def cancel(self) -> None:
        """Tells the worker that nobody wants it any more."""
        self.attempt.told_to_stop = True
        self._process.send(Cancel(lease=self.attempt.lease))

    async def _send(self) -> None:
        attempt, files = self.attempt, self._books.files
        folder = await asyncio.to_thread(files.open_work, attempt.lease)
        render = Render(
            lease=attempt.lease,
            job=attempt.job.id,
            photo=str(files.photo(attempt.job.photo_sha256)),
            settings=attempt.job.settings,
            folder=str(folder),
            state=str(files.state(attempt.job.id)),
            save_every_steps=self._settings.save_every_steps,
            preview_every_s=self._settings.preview_every_s,
        )
        self._process.send(render)
        if attempt.told_to_stop:  # while the folder was made; the worker knew nothing of it then
            self.cancel()

    async def _hear(self, message: FromWorker | Woken | None) -> None:
        attempt = self.attempt
        match message:
            case Progress(lease=attempt.lease):
                self._got_further()
                if ended := attempt.hear(message, time.time()):
                    self._events.stage(attempt.job, *ended)
                if (message.note or "").startswith(OUT_OF_MEMORY):
                    self._events.out_of_memory(attempt.job, self._worker)
                self._books.hub.update(attempt.job.id, attempt.live)
            case Preview(lease=attempt.lease):
                self._got_further()
            case Saved(lease=attempt.lease, steps_done=steps_done):
                await self._books.saved(attempt, steps_done)

    def _got_further(self) -> None:
        if not self.attempt.told_to_stop:
            self._stuck_at = self._loop.time() + self._settings.step_timeout_s

    async def _look(self) -> None:
        """What is due: to keep the lease, to save the render, to lose patience."""
        if self._loop.time() >= self._extend_at:
            self._extend_at = self._loop.time() + self._settings.lease_s / 4
            if not await self._books.extend(self.attempt):
                self.cancel()
        if self._loop.time() >= self._stuck_at:
            raise Died("its render got no further in time")
        if self._loop.time() >= self.save_at and not self.attempt.told_to_stop:
            self.attempt.told_to_stop = True
            self._process.send(SaveAndStop(lease=self.attempt.lease))
            self._stuck_at = min(self._stuck_at, self._loop.time() + STOP_S)
