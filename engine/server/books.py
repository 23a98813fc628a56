"""What becomes of jobs, written down: each change of the store and of files that a pool of workers makes.

They block, so they run in threads; a disk that is full is waited for, since what a worker made must not be lost.

    done      result.json into the folder -> one rename -> completed    (`recover` makes good a stop in between)
    failed    failed, files dropped
    died      queued again, or failed after too many deaths
    stopped   queued again
    none of them, for the lease no longer counts: cancelled or deleted; files dropped
"""

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import ConfigError, OutputError
from fantasyid_engine.server.attempt import Attempt
from fantasyid_engine.server.events import PoolEvents
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.messages import Done, Failed
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Store

T = TypeVar("T")
RESULT = "result.json"
MOST_WAIT_S = 30.0


class Books:
    """Of one pool. Methods that are coroutines are for its loop, the others block."""

    def __init__(self, settings: Settings, store: Store, files: Files, hub: Hub, events: PoolEvents) -> None:
        self.settings, self.store, self.files, self.hub, self.events = settings, store, files, hub, events
        self.stopping = asyncio.Event()
        """Set when the server is being stopped: nothing is waited for then."""

    async def do(self, what: str, call: Callable[..., T], *arguments: Any, **settings: Any) -> T:
        """Calls in a thread, again and again while the disk does not take it; raises that where the server stops."""
        wait_s = 1.0
        while True:
            try:
                return await asyncio.to_thread(partial(call, *arguments, **settings))
            except (OutputError, OSError) as error:
                self.events.trouble(what, error)
                if self.stopping.is_set():
                    raise
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), wait_s)
            wait_s = min(2 * wait_s, MOST_WAIT_S)

    async def claim(self, worker: str, last: Job | None) -> Job | None:
        """The next job; None where none waits, or none can be had now."""
        try:
            return await asyncio.to_thread(
                partial(self.store.claim, worker, now=time.time(), lease_s=self.settings.lease_s, last=last)
            )
        except OutputError as error:
            self.events.trouble("claim", error)
            return None

    async def extend(self, attempt: Attempt) -> bool:
        """Keeps the lease; False where it no longer counts. Trouble is for the next time."""
        until = time.time() + self.settings.lease_s
        try:
            return await asyncio.to_thread(partial(self.store.extend, attempt.lease, until=until))
        except OutputError as error:
            self.events.trouble("extend", error)
            return True

    async def saved(self, attempt: Attempt, steps_done: int) -> None:
        """Notes that its state is on disk; trouble costs at most an attempt that counts."""
        try:
            await asyncio.to_thread(self.store.saved, attempt.lease, steps_done)
        except OutputError as error:
            self.events.trouble("saved", error)

    async def done(self, attempt: Attempt, done: Done) -> None:
        """Publishes what was made."""
        job = attempt.job
        stored = await self.do("look", self.store.get, job.id)
        if stored is None or stored.lease != attempt.lease:
            await self._dropped(attempt)
            return
        if not await self.do("publish", self._publish, attempt, done.result):
            await self.returned(attempt, "what it made is gone", died=True)
            return
        now = time.time()
        ended = await self.do(
            "complete", self.store.complete, attempt.lease, done.result, now=now, expires_at=self._expiry(now)
        )
        await self._ended(attempt, ended)
        if ended is not None:
            await asyncio.to_thread(self.files.state(job.id).unlink, missing_ok=True)

    async def failed(self, attempt: Attempt, failed: Failed) -> None:
        """The worker says that it cannot be rendered."""
        now = time.time()
        ended = await self.do(
            "fail",
            self.store.fail,
            attempt.lease,
            failed.code,
            failed.message,
            now=now,
            expires_at=self._expiry(now),
        )
        await self._ended(attempt, ended)

    async def returned(self, attempt: Attempt, why: str, *, died: bool) -> None:
        """Nothing became of it: its worker died of it, or was told to stop."""
        now = time.time()
        job = await self.do(
            "give back",
            self.store.give_back,
            attempt.lease,
            died=died,
            max_attempts=self.settings.max_attempts,
            now=now,
            expires_at=self._expiry(now),
        )
        if job is None or job.state != "queued":
            await self._ended(attempt, job)
            return
        await asyncio.to_thread(self.files.drop_work, attempt.lease)
        self.events.job_returned(job, why, now)
        self.hub.changed(job.id)

    def recover(self, model: str) -> list[Job]:
        """At start: what the last server left under way is completed where its video is whole, else queued again.

        Raises:
            ConfigError: jobs wait for another model than this one, and the settings do not say that they are to fail.
        """
        now, jobs = time.time(), list[Job]()
        for job in self.store.leased():
            assert job.lease is not None, "it is leased"
            result, expires_at = self._published(job.id), self._expiry(now)
            if result is not None:
                ended = self.store.complete(job.lease, result, now=now, expires_at=expires_at)
            else:
                ended = self.store.interrupt(job.lease, now=now, expires_at=expires_at)
            jobs += [] if ended is None else [ended]
        others = self.store.waiting_for_others(model)
        if others and not self.settings.fail_other_models:
            raise ConfigError(
                f"{len(others)} videos wait for the model {others[0].model}, and this server has {model}; "
                "start it with that --model, or set fail_other_models = true to let them fail"
            )
        return [*jobs, *self.store.fail_others(model, now=now, expires_at=self._expiry(now))]

    async def _ended(self, attempt: Attempt, job: Job | None) -> None:
        """The job is final, or its lease no longer counts (None)."""
        if job is None:
            await self._dropped(attempt)
            return
        await self.do("drop files", self._drop, attempt, everything=job.state != "completed")
        self.events.job_finished(job, time.time())
        self.hub.changed(job.id)

    async def _dropped(self, attempt: Attempt) -> None:
        """It was cancelled or deleted meanwhile."""
        job = await self.do("look", self.store.get, attempt.job.id)
        await self.do("drop files", self._drop, attempt, everything=job is None or job.state == "failed")
        now = time.time()
        if job is None:
            self.events.job_dropped(attempt.job, now)
        else:
            self.events.job_finished(job, now)
        self.hub.changed(attempt.job.id)

    def _drop(self, attempt: Attempt, *, everything: bool) -> None:
        self.files.drop_work(attempt.lease)
        if everything:
            self.files.drop_job(attempt.job.id)

    def _publish(self, attempt: Attempt, result: dict[str, Any]) -> bool:
        """False where the attempt's folder is gone; may be called again after an error."""
        folder = self.files.preview(attempt.lease).parent
        if not folder.is_dir():
            return self._published(attempt.job.id) is not None
        with atomic_file(folder / RESULT) as temporary:
            temporary.write_text(json.dumps(result), encoding="utf-8")
        self.files.publish(attempt.lease, attempt.job.id)
        return True

    def _published(self, job_id: str) -> dict[str, Any] | None:
        """The result of a video that is there; None where there is none."""
        if not self.files.has_video(job_id):
            return None
        path: Path = self.files.video(job_id, "video").with_name(RESULT)
        try:
            return read_json_object(path, OutputError)
        except OutputError:
            return None

    def _expiry(self, now: float) -> float | None:
        hours = self.settings.retention_hours
        return None if hours is None else now + hours * 3600
