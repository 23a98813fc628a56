"""What happens in a pool of workers, for whoever counts, logs or traces it. Called on the server's loop; must be quick.

Times are seconds since 1970.
"""

from dataclasses import dataclass
from typing import Literal

from fantasyid_engine.server.jobs import Job

WorkerState = Literal["starting", "idle", "busy", "restarting", "quarantined", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """A worker's place: the processes that follow each other in it have one name.

    Attributes:
        name: of the place.
        device: as the server counts devices.
        state: `restarting` waits before it starts anew, `quarantined` does not start any more.
        job_id: of the render under way.
        restarts: processes after the first.
        pid: of the process.
    """

    name: str
    device: str
    state: WorkerState
    job_id: str | None
    restarts: int
    pid: int | None


class PoolEvents:
    """What a pool tells; to this class, nobody listens."""

    def job_started(self, job: Job, worker: str, at: float) -> None:
        """A worker renders it now, for the first time or again."""

    def stage(self, job: Job, stage: str, start: float, end: float) -> None:
        """A stage of its render is over."""

    def job_returned(self, job: Job, why: str, at: float) -> None:
        """It is queued again: its worker died, or the server is being stopped."""

    def job_finished(self, job: Job, at: float) -> None:
        """It is completed or failed; one that was cancelled while it was rendered is told of here too."""

    def job_dropped(self, job: Job, at: float) -> None:
        """It was deleted while it was rendered; `job` is what was being rendered."""

    def out_of_memory(self, job: Job, worker: str) -> None:
        """It failed, or took a leaner way, because memory ran out."""

    def worker_state(self, status: WorkerStatus) -> None:
        """A worker's state is another one now."""

    def worker_busy(self, worker: str, seconds: float) -> None:
        """A worker was busy for so long with one job."""

    def worker_ended(self, worker: str, why: str, exit_code: int | None) -> None:
        """A worker's process is gone, and nobody had asked it to go; None for one that could not be started."""

    def worker_line(self, worker: str, line: str) -> None:
        """A worker wrote a line to its log."""

    def trouble(self, what: str, error: Exception) -> None:
        """The store or the files cannot do what they must; it is tried again."""
