"""A pool in a data folder of its own, on a loop of its own, with jobs as the service makes them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fantasyid_engine.server.events import PoolEvents, WorkerStatus
from fantasyid_engine.server.files import Files
from fantasyid_engine.server.hub import Hub, Live
from fantasyid_engine.server.jobs import FINAL, LOCAL, Job, NewJob
from fantasyid_engine.server.pool import Pool
from fantasyid_engine.server.settings import Settings
from fantasyid_engine.server.store import Limits, Store

HERE = Path(__file__).parent
SLEEPING = (sys.executable, str(HERE / "sleeping_worker.py"))
"""The fake worker."""
NO_LIMITS = Limits(max_queued=100_000, max_queued_per_key=100_000, max_creates_per_minute=None)
PHOTO = b"the bytes of a photo, which the fake worker does not decode"


@dataclass
class Told(PoolEvents):
    """Keeps what the pool tells."""

    said: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def job_started(self, job: Job, worker: str, at: float) -> None:
        self.said.append(("started", job.id, worker))

    def stage(self, job: Job, stage: str, start: float, end: float) -> None:
        self.said.append(("stage", job.id, stage))
        assert start <= end

    def job_returned(self, job: Job, why: str, at: float) -> None:
        self.said.append(("returned", job.id, why))

    def job_finished(self, job: Job, at: float) -> None:
        self.said.append(("finished", job.id, job.state, job.error_code))

    def job_dropped(self, job: Job, at: float) -> None:
        self.said.append(("dropped", job.id))

    def out_of_memory(self, job: Job, worker: str) -> None:
        self.said.append(("out_of_memory", job.id))

    def worker_state(self, status: WorkerStatus) -> None:
        self.said.append(("worker", status.name, status.state))

    def worker_ended(self, worker: str, why: str, exit_code: int | None) -> None:
        self.said.append(("ended", worker, why, exit_code))

    def worker_line(self, worker: str, line: str) -> None:
        self.lines.append(line)

    def trouble(self, what: str, error: Exception) -> None:
        self.said.append(("trouble", what, str(error)))

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [said for said in self.said if said[0] == kind]


@dataclass
class Running:
    """A pool and all that is around it."""

    pool: Pool
    store: Store
    files: Files
    hub: Hub
    told: Told

    def make(self, prompt: str = "smiles", *, photo: bytes = PHOTO, key: str = LOCAL, **settings: Any) -> Job:
        """A job; the pool is told of it."""
        new = NewJob(
            key_id=key,
            settings={"prompt": prompt, "seed": 7, **settings},
            photo_sha256=self.files.keep_photo(photo),
            size="64x64",
            num_frames=settings.get("num_frames", 9),
            fps=8,
            model="avatar-mini",
        )
        job, made, _ = self.store.create(new, now=1_000.0, limits=NO_LIMITS)
        assert made
        self.pool.wake()
        return job

    def job(self, job: Job) -> Job:
        """As it is now."""
        stored = self.store.get(job.id)
        assert stored is not None
        return stored

    async def final(self, *jobs: Job, timeout_s: float = 120) -> list[Job]:
        """The jobs once they are completed or failed, and the pool has told so."""
        ids = {job.id for job in jobs}
        await until(lambda: ids <= {said[1] for said in self.told.of("finished")}, timeout_s)
        ended = [self.job(job) for job in jobs]
        assert all(job.state in FINAL for job in ended)
        return ended

    async def ready(self, timeout_s: float = 300) -> None:
        await until(lambda: self.pool.ready, timeout_s)

    async def live(self, job: Job, wanted: Callable[[Live], bool], timeout_s: float = 120) -> Live:
        """The progress of a job as soon as it is so."""
        seen = 0
        async with asyncio.timeout(timeout_s):
            while (live := self.hub.progress(job.id)) is None or not wanted(live):
                seen = await self.hub.wait(job.id, seen, 1)
        return live

    def nothing_left(self) -> bool:
        """No attempt's folder, no half video; half a state of a worker that was killed is for the sweep."""
        root = self.files.photo("0" * 64).parent.parent
        return not any((root / "work").iterdir()) and not any((root / "videos").glob("*.partial"))


async def until(condition: Callable[[], bool], timeout_s: float) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def pool(data: Path, *, command: Sequence[str] = SLEEPING, **settings: Any) -> AsyncIterator[Running]:
    """A pool from its start to its end; the store is closed with it."""
    chosen = Settings(data=data, **{"devices": ("cpu",), "drain_s": 0, **settings})
    files = Files(data)
    store, hub, told = Store(data / "jobs.sqlite"), Hub(), Told()
    running = Running(Pool(chosen, store, files, hub, events=told, command=command), store, files, hub, told)
    await running.pool.start()
    try:
        yield running
    finally:
        await running.pool.kill()
        store.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    """A test that is a coroutine."""

    async def main() -> None:
        await test()

    asyncio.run(main())
