"""What is removed, with all its files: jobs that are deleted, that have expired, and all that is kept of a person.

    the row -> the render, if one is under way -> the video and its state -> the photo, with the last job that has it

In this order: a server that stops in between leaves files of no known job, which the sweep takes.
"""

import asyncio
import time
from contextlib import suppress

from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub
from fantasyid_engine.server.jobs import FINAL, Job
from fantasyid_engine.server.logs import get_log
from fantasyid_engine.server.photos import Photos
from fantasyid_engine.server.pool import Pool
from fantasyid_engine.server.schemas import Purged
from fantasyid_engine.server.store import Store

EXPIRE_EVERY_S = 60.0
SWEEP_EVERY_S = 3_600.0
AT_ONCE = 100


class Remover:
    """Removes jobs and their files."""

    def __init__(self, store: Store, files: Files, hub: Hub, pool: Pool, photos: Photos) -> None:
        self._store, self._files, self._hub, self._pool, self._photos = store, files, hub, pool, photos

    async def remove(self, job_id: str, *, key_id: str | None) -> Job | None:
        """A job of this key, or with None of any, in whatever state; as it was, None where there is none."""
        job = await asyncio.to_thread(lambda: self._store.delete(job_id, key_id=key_id))
        if job is not None:
            if job.state == "in_progress":
                await self._pool.cancel(job.id)
            await asyncio.to_thread(self._drop_files, job)
            self._hub.changed(job.id)
        return job

    def _drop_files(self, job: Job) -> None:
        self._files.drop_job(job.id)
        self._photos.drop(job.photo_sha256)

    async def purge(self, *, key_id: str, photo_sha256: str | None, consent_ref: str | None) -> Purged:
        """All jobs of a person, with what is kept of their face anywhere."""
        found = await asyncio.to_thread(
            lambda: self._store.of_subject(
                key_id=key_id, photo_sha256=photo_sha256, consent_ref=consent_ref, before=None
            )
        )
        gone = [job for job in found if await self.remove(job.id, key_id=key_id) is not None]
        await asyncio.to_thread(self._pool.forget)
        await asyncio.to_thread(self._store.wipe)
        return Purged(
            jobs=len(gone),
            cancelled=sum(job.state not in FINAL for job in gone),
            # Also those whose file stays for others' jobs: their keys are not told of each other.
            photos=len({job.photo_sha256 for job in gone}),
            videos=sum(job.state == "completed" for job in gone),
        )

    async def expire(self, now: float) -> int:
        """Removes jobs whose time is over; how many that were."""
        expired = await asyncio.to_thread(self._store.next_expiring, now, AT_ONCE)
        for job in expired:
            await self.remove(job.id, key_id=None)
        return len(expired)

    async def run(self, stop: asyncio.Event) -> None:
        """Expires and sweeps until `stop`."""
        swept = time.monotonic()
        while not stop.is_set():
            try:
                while await self.expire(time.time()) == AT_ONCE:
                    pass
                if time.monotonic() - swept > SWEEP_EVERY_S:
                    swept = time.monotonic()
                    freed = await asyncio.to_thread(self._photos.sweep)
                    get_log().info("swept", freed_bytes=freed)
            except Exception:  # a full disk, a locked store: removing must not end with it
                get_log().exception("removal_failed")
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EXPIRE_EVERY_S)
