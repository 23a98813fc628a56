"""Jobs for the store's tests, and what stands in for the rest of a server."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from fantasyid_engine.server.database import reading, tables, turns
from fantasyid_engine.server.jobs import Job, NewJob
from fantasyid_engine.server.store import Limits, Store

NO_LIMITS = Limits(max_queued=1_000_000, max_queued_per_key=1_000_000, max_creates_per_minute=None)
RESULT = {"seed": 7, "render_s": 4.0, "notes": [], "durations_s": {"denoising": 3.5}}


def photo(name: str) -> str:
    """A photo's digest."""
    return hashlib.sha256(name.encode()).hexdigest()


def new_job(key_id: str = "key_a", **changes: Any) -> NewJob:
    """What a client asks for."""
    values: dict[str, Any] = {
        "settings": {"prompt": "smiles", "negative_prompt": "", "seed": 7, "num_inference_steps": 20},
        "photo_sha256": photo("face"),
        "size": "512x512",
        "num_frames": 49,
        "fps": 8,
        "model": "avatar-mini",
    }
    return NewJob(key_id=key_id, **(values | changes))


def make(store: Store, key_id: str = "key_a", *, now: float = 1.0, **changes: Any) -> Job:
    """A new job in a store."""
    job, made, _ = store.create(new_job(key_id, **changes), now=now, limits=NO_LIMITS)
    assert made
    return job


def make_at_once(path: Path, wanted: list[NewJob]) -> None:
    """Thousands of jobs in a store; made one by one, they would take minutes."""
    made = {"state": "queued", "created_at": 1.0}
    rows = [asdict(new) | made | {"id": f"video_{i:032x}"} for i, new in enumerate(wanted)]
    with closing(Store(path)) as store, store._database.write() as connection:
        connection.execute(insert(tables.jobs), rows)
        numbers = Counter(new.key_id for new in wanted)
        queues = [{"key_id": key_id, "waiting": number} for key_id, number in numbers.items()]
        connection.execute(insert(tables.queues), queues)


def claim(store: Store, *, now: float = 2.0, last: Job | None = None, worker: str = "w0") -> Job:
    """The next job; there must be one."""
    job = store.claim(worker, now=now, lease_s=30, last=last)
    assert job is not None and job.state == "in_progress" and job.lease is not None
    return job


def position(store: Store, job: Job) -> int:
    """Its place in the queue; 0 where it does not wait."""
    found = store.look(job.id)
    return found[1].position if found and found[1] else 0


def positions(store: Store, jobs: Sequence[Job]) -> dict[str, int]:
    """Those of many at once; jobs that do not wait are left out."""
    with store._database.read() as connection:
        return turns.positions(connection, [job.id for job in jobs])


def mean_render_s(store: Store) -> float | None:
    """As places in the queue are told with."""
    with store._database.read() as connection:
        return reading.mean_render_s(connection)


def lease(job: Job) -> str:
    """That of a job under way."""
    assert job.lease is not None
    return job.lease
