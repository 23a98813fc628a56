"""Live progress of jobs under way, and wake-ups for whoever watches one. Nothing in it is needed after a restart.

Everything that happens is numbered. Who watches says the last number it saw, and is woken by any that is newer; so no
change is missed between two waits, and many changes at once wake it once.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass

MOST_REMEMBERED = 10_000
"""Jobs whose last number is kept; of others only that it is none above the last that was dropped."""


@dataclass(frozen=True, slots=True)
class Live:
    """How far a job is that is under way.

    Attributes:
        stage: of the render.
        step: of `steps`, of that stage.
        steps: likewise.
        percent: of the whole render, 0 to 100.
        eta_s: seconds that are left, where that is known.
        notes: one line each, of what the render did differently.
    """

    stage: str
    step: int
    steps: int
    percent: int
    eta_s: float | None = None
    notes: tuple[str, ...] = ()


class Hub:
    """For one event loop; all calls come from it."""

    def __init__(self) -> None:
        """Begins with nothing known."""
        self._live: dict[str, Live] = {}
        self._version = 0
        self._versions: OrderedDict[str, int] = OrderedDict()
        self._dropped = 0
        self._watchers: dict[str, set[asyncio.Future[None]]] = {}

    def progress(self, job_id: str) -> Live | None:
        """How far a job is; None for one that is not under way."""
        return self._live.get(job_id)

    def update(self, job_id: str, live: Live | None) -> None:
        """A job got further; None: it is no longer under way."""
        if live is None:
            self._live.pop(job_id, None)
        else:
            self._live[job_id] = live
        self.changed(job_id)

    def changed(self, job_id: str) -> None:
        """The store has something new on a job, or it is gone."""
        self._version += 1
        self._versions[job_id] = self._version
        self._versions.move_to_end(job_id)
        if len(self._versions) > MOST_REMEMBERED:
            _, self._dropped = self._versions.popitem(last=False)
        for watcher in self._watchers.pop(job_id, ()):
            if not watcher.done():
                watcher.set_result(None)

    async def wait(self, job_id: str, seen: int, timeout_s: float) -> int:
        """Returns the number of the last change: at once if it is above `seen`, else with the next, or in time.

        Begin with 0, look at the job, then wait with what was returned before.
        """
        if self._known(job_id) <= seen and timeout_s > 0:
            watcher = asyncio.get_running_loop().create_future()
            self._watchers.setdefault(job_id, set()).add(watcher)
            try:
                await asyncio.wait((watcher,), timeout=timeout_s)
            finally:
                self._forget(job_id, watcher)
        return max(seen, self._known(job_id))

    def _known(self, job_id: str) -> int:
        """Of a job that was dropped it may be too high: then somebody looks once more than needed."""
        return self._versions.get(job_id, self._dropped)

    def _forget(self, job_id: str, watcher: asyncio.Future[None]) -> None:
        watchers = self._watchers.get(job_id, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(job_id, None)
