"""Metrics for Prometheus: what happened is said by methods, and named here alone.

Counters and histograms are of this process since it started. Labels take few values: routes are templates, codes those
of errors, workers those of this machine; what comes beyond that many is `other`.
"""

import re
from collections.abc import Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from fantasyid_engine import __version__
from fantasyid_engine.server.gpu_metrics import GpuCollector

PREFIX = "fantasyid"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
MOST_VALUES = 64
"""Of one label, `other` left aside."""
OTHER = "other"

REQUEST_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
RENDER_S = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0)
WAIT_S = (*RENDER_S, 14_400.0, 43_200.0, 86_400.0)

_WORD = re.compile(r"[A-Za-z0-9_.:/{}-]{1,100}")


class Metrics:
    """All metrics of one server, in a registry of its own. Methods may be called from any thread."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._known: dict[str, set[str]] = {}
        self._states: dict[str, str] = {}

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, namespace=PREFIX, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, namespace=PREFIX, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, text, labels, namespace=PREFIX, registry=registry, buckets=buckets)

        self._requests = counter("http_requests", "Requests answered.", "method", "route", "status")
        self._request_s = histogram(
            "http_request_duration_seconds", "From a request to the end of its answer.", REQUEST_S, "method", "route"
        )
        self._created = counter("jobs_created", "Jobs that were taken on.")
        self._finished = counter("jobs_finished", "Jobs that ended.", "status", "code")
        self._wait_s = histogram("job_wait_seconds", "From a job's making to its first start.", WAIT_S)
        self._render_s = histogram("job_render_seconds", "From a job's first start to its end.", RENDER_S, "status")
        self._stage_s = histogram("stage_duration_seconds", "Of a render's stages.", RENDER_S, "stage")
        self._worker_state = gauge("worker_state", "1 for the state that a worker is in.", "worker", "state")
        self._busy_s = counter("worker_busy_seconds", "Time that a worker rendered.", "worker")
        self._restarts = counter("worker_restarts", "Times that a worker was started anew.", "worker")
        self._jobs = gauge("jobs", "Jobs in the store, by state.", "state")
        self._out_of_memory = counter("out_of_memory", "Renders that ran out of memory.")
        self._webhooks = counter("webhook_attempts", "Attempts to deliver a webhook.", "outcome")
        Info("build", "What runs.", namespace=PREFIX, registry=registry).info({"version": __version__})
        ProcessCollector(registry=registry)
        registry.register(GpuCollector(PREFIX))

    def request(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """A request was answered; `route` is its template such as `/v1/videos/{id}`, None where no route matched."""
        method = method if method in METHODS else OTHER
        route = self._few("route", route or "none")
        self._requests.labels(method, route, str(status) if 100 <= status < 600 else OTHER).inc()
        self._request_s.labels(method, route).observe(max(0.0, seconds))

    def job_created(self) -> None:
        """A job was taken on."""
        self._created.inc()

    def job_finished(
        self,
        status: Literal["completed", "failed"],
        code: str | None,
        wait_s: float | None,
        render_s: float | None,
    ) -> None:
        """A job ended, a failed one with its error's code; a job that never started has no `render_s`."""
        self._finished.labels(status, self._few("code", code or "none")).inc()
        if wait_s is not None:
            self._wait_s.observe(max(0.0, wait_s))
        if render_s is not None:
            self._render_s.labels(status).observe(max(0.0, render_s))

    def stage(self, stage: str, seconds: float) -> None:
        """A stage of a render ended."""
        self._stage_s.labels(self._few("stage", stage)).observe(max(0.0, seconds))

    def worker_state(self, worker: str, state: str) -> None:
        """A worker is in this state now, and in no other; `worker` is its place, which its successor inherits."""
        worker, state = self._few("worker", worker), self._few("state", state)
        before = self._states.get(worker)
        if before is not None:
            self._worker_state.labels(worker, before).set(0)
        self._worker_state.labels(worker, state).set(1)
        self._states[worker] = state

    def worker_busy(self, worker: str, seconds: float) -> None:
        """A worker rendered for so long."""
        self._busy_s.labels(self._few("worker", worker)).inc(max(0.0, seconds))

    def worker_restarted(self, worker: str) -> None:
        """A worker was started in place of one that ended."""
        self._restarts.labels(self._few("worker", worker)).inc()

    def queue(self, depth_by_state: Mapping[str, int]) -> None:
        """How many jobs the store has, by state; states that are not named have none."""
        for state in self._known.get("job_state", set()) - set(depth_by_state):
            self._jobs.labels(state).set(0)
        for state, count in depth_by_state.items():
            self._jobs.labels(self._few("job_state", state)).set(count)

    def out_of_memory(self) -> None:
        """A render ran out of memory."""
        self._out_of_memory.inc()

    def webhook(self, outcome: str) -> None:
        """An attempt to deliver ended; see `webhooks.Outcome`."""
        self._webhooks.labels(self._few("outcome", outcome)).inc()

    def render(self) -> tuple[bytes, str]:
        """All metrics as they are now: the text and its content type. It asks the driver of the GPUs, so it blocks."""
        return generate_latest(self._registry), CONTENT_TYPE_PLAIN_0_0_4

    def _few(self, label: str, value: str) -> str:
        """A label's value, or `other` for what is no plain word or one too many: each value is kept for good."""
        known = self._known.setdefault(label, set())
        if value in known:
            return value
        if len(known) >= MOST_VALUES or not _WORD.fullmatch(value):
            return OTHER
        known.add(value)
        return value
