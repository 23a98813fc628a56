"""What the pool tells, as metrics, log lines and spans."""

from fantasyid_engine.server.events import PoolEvents, WorkerStatus
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.logs import get_log
from fantasyid_engine.server.metrics import Metrics
from fantasyid_engine.server.tracing import JobSpan, Tracer


class Telemetry(PoolEvents):
    """Tells it on; of one server, on its loop."""

    def __init__(self, metrics: Metrics, tracer: Tracer) -> None:
        self._metrics, self._tracer = metrics, tracer
        self._spans: dict[str, JobSpan] = {}
        self._restarts: dict[str, int] = {}

    def job_started(self, job: Job, worker: str, at: float) -> None:
        """A span begins."""
        self._spans[job.id] = self._tracer.begin(job.id, job.model, at, job.traceparent)
        get_log().info("job_started", job_id=job.id, worker=worker, attempts=job.attempts)

    def stage(self, job: Job, stage: str, start: float, end: float) -> None:
        """A span of its own, and its duration."""
        self._metrics.stage(stage, end - start)
        if job.id in self._spans:
            self._spans[job.id].stage(stage, start, end)

    def job_returned(self, job: Job, why: str, at: float) -> None:
        """The attempt's span ends."""
        self._end(job, "returned", at)
        get_log().warning("job_returned", job_id=job.id, why=why, attempts=job.attempts)

    def job_finished(self, job: Job, at: float) -> None:
        """Counted, with its waiting and rendering."""
        started = job.started_at
        status = "completed" if job.state == "completed" else "failed"
        wait_s = None if started is None else started - job.created_at
        self._metrics.job_finished(status, job.error_code, wait_s, None if started is None else at - started)
        self._end(job, job.error_code, at)
        get_log().info("job_finished", job_id=job.id, status=job.state, code=job.error_code, detail=job.error_message)

    def job_dropped(self, job: Job, at: float) -> None:
        """It was deleted."""
        self._end(job, "deleted", at)
        get_log().info("job_dropped", job_id=job.id)

    def out_of_memory(self, job: Job, worker: str) -> None:
        """Counted."""
        self._metrics.out_of_memory()
        get_log().warning("out_of_memory", job_id=job.id, worker=worker)

    def worker_state(self, status: WorkerStatus) -> None:
        """The state now; a process more than before is a restart."""
        self._metrics.worker_state(status.name, status.state)
        if status.restarts > self._restarts.get(status.name, 0):
            self._metrics.worker_restarted(status.name)
        self._restarts[status.name] = status.restarts
        get_log().info("worker", worker=status.name, device=status.device, state=status.state, pid=status.pid)

    def worker_busy(self, worker: str, seconds: float) -> None:
        """Added up."""
        self._metrics.worker_busy(worker, seconds)

    def worker_ended(self, worker: str, why: str, exit_code: int | None) -> None:
        """Logged."""
        get_log().error("worker_ended", worker=worker, why=why, exit_code=exit_code)

    def worker_line(self, worker: str, line: str) -> None:
        """Logged as it is: JSON escapes what could forge a line."""
        get_log().info("worker_line", worker=worker, line=line)

    def trouble(self, what: str, error: Exception) -> None:
        """Logged with its traceback."""
        get_log().error("trouble", what=what, exc_info=error)

    def _end(self, job: Job, code: str | None, at: float) -> None:
        span = self._spans.pop(job.id, None)
        if span is not None:
            span.end("completed" if job.state == "completed" else "failed", code, at)
