"""The workers of a server, one a device, and what they are told together."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from fantasyid_engine.server.attempt import Attempt
from fantasyid_engine.server.books import Books
from fantasyid_engine.server.devices import find_devices
from fantasyid_engine.server.events import PoolEvents, WorkerStatus
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub
from fantasyid_engine.server.jobs import FINAL
from fantasyid_engine.server.messages import Facts, Refused, served_name
from fantasyid_engine.server.process import COMMAND, Launch
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.slot import Slot
from fantasyid_engine.server.store import Store

CANNOT_START = 70
"""Exit code where workers die without saying why; `EX_SOFTWARE` of sysexits.h."""


class Pool:
    """Supervises workers; for one event loop, but for `forget`, which blocks and is for threads."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        files: Files,
        hub: Hub,
        *,
        events: PoolEvents | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """A pool that does nothing yet.

        Args:
            settings: of the server.
            store: its jobs.
            files: its files.
            hub: who watches jobs.
            events: told of what happens.
            command: what starts a worker instead of our own; it is given the same options.
        """
        self._settings, self._store, self._command = settings, store, tuple(command or COMMAND)
        self._faces = settings.data / "faces"
        self._books = Books(settings, store, files, hub, events or PoolEvents())
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots: list[Slot] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._facts: Facts | None = None

    async def start(self) -> None:
        """Takes up what the last server left, then starts the workers; returns before they are ready.

        Raises:
            ConfigError: as `Books.recover`.
        """
        self._loop = asyncio.get_running_loop()
        model = served_name(self._settings.model)
        facts = await asyncio.to_thread(self._store.facts)
        self._facts = facts if facts is not None and facts.name == model else None
        for job in await asyncio.to_thread(self._books.recover, model):
            if job.state in FINAL:
                self._books.events.job_finished(job, time.time())
        devices = await asyncio.to_thread(find_devices, self._settings.devices, os.environ)
        for number, device in enumerate(devices):
            launch = Launch(
                command=self._command,
                model=self._settings.model,
                device=device,
                precision=self._settings.precision,
                faces=str(self._faces),
            )
            self._slots.append(Slot(f"worker-{number}", launch, self._books, self._keep_facts))
        self._tasks = [asyncio.create_task(work) for work in (*(slot.run() for slot in self._slots), self._reap())]

    def wake(self) -> None:
        """A job was made."""
        for slot in self._slots:
            slot.wake()

    async def cancel(self, job_id: str) -> None:
        """Tells the worker that has the job, if one has; it stops within a step, and its files are dropped."""
        for slot in self._slots:
            slot.cancel(job_id)

    async def drain(self) -> None:
        """No new jobs; those under way go on for `drain_s`, then they are saved; returns when all workers are gone."""
        self._books.stopping.set()
        save_at = asyncio.get_running_loop().time() + self._settings.drain_s
        for slot in self._slots:
            slot.drain(save_at)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def kill(self) -> None:
        """Ends all workers at once; what they render is taken up at the next start."""
        self._books.stopping.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def workers(self) -> list[WorkerStatus]:
        """All places for workers, as they are now."""
        return [slot.status for slot in self._slots]

    @property
    def facts(self) -> Facts | None:
        """Of the model, or of the one that was served last; None before a worker was ever ready."""
        return self._facts

    @property
    def ready(self) -> bool:
        """Whether a worker renders, or could."""
        usable = any(slot.state in ("idle", "busy") for slot in self._slots)
        return usable and not self._books.stopping.is_set()

    @property
    def refusal(self) -> Refused | None:
        """Why no worker can ever start; None as long as one may."""
        if not self._slots or any(slot.state != "quarantined" for slot in self._slots):
            return None
        said = next((slot.refused for slot in self._slots if slot.refused is not None), None)
        return said or Refused(exit_code=CANNOT_START, message="workers die before they are ready; the log says more")

    def forget(self) -> None:
        """Lets go of all faces and prompts that are kept, in workers and on disk; from a thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell_to_forget)
        for path in _entries(self._faces):
            with suppress(OSError):  # another may be faster
                path.unlink()

    async def _reap(self) -> None:
        """Gives back attempts whose lease ended and that no worker has: writing their end down went wrong."""
        books = self._books
        while not books.stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(books.stopping.wait(), self._settings.lease_s)
            try:
                leased = await asyncio.to_thread(self._store.leased)
                under_way = {status.job_id for status in self.workers()}
                for job in leased:
                    if job.id not in under_way and (job.lease_until or 0) < time.time():
                        await books.returned(
                            Attempt.of(job, 1, time.time()), "its end was never written down", died=True
                        )
            except Exception as error:  # a store that cannot be read now: it is tried again
                books.events.trouble("reap", error)

    def _tell_to_forget(self) -> None:
        for slot in self._slots:
            slot.forget()

    def _keep_facts(self, facts: Facts) -> None:
        changed, self._facts = facts != self._facts, facts
        if changed:
            task = asyncio.create_task(self._books.do("keep facts", self._store.keep_facts, facts))
            self._tasks.append(task)


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
