"""Traces of jobs by OpenTelemetry: a span a job, its stages as child spans, under the span of who asked for it.

Spans are made where `OTEL_EXPORTER_OTLP_ENDPOINT` (or the one for traces alone) is set, and nothing at all elsewhere;
the rest is set by the SDK's own variables. A job's stages are known only from the worker's messages, so that all times
are given and none is taken here. Prompts, photos and keys are in no span.
"""

import os
from typing import TYPE_CHECKING, Literal

from fantasyid_engine import __version__
from fantasyid_engine.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span
    from opentelemetry.trace import Tracer as OtelTracer

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
SERVICE = "fantasyid-engine"


class JobSpan:
    """A job under way. All times are seconds since 1970."""

    def __init__(self, tracer: "OtelTracer | None", span: "Span | None", context: "Context | None") -> None:
        self._tracer, self._span, self._context = tracer, span, context

    def stage(self, stage: str, start: float, end: float) -> None:
        """A stage that is over; a worker whose clock was set back in between gives an empty one."""
        if self._tracer is not None:
            child = self._tracer.start_span(stage, context=self._context, start_time=_nanoseconds(start))
            child.end(end_time=_nanoseconds(max(start, end)))

    def end(self, status: Literal["completed", "failed"], code: str | None, at: float) -> None:
        """The job is done, or failed with its error's code; later calls change nothing."""
        if self._span is None or not self._span.is_recording():
            return
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("fantasyid.status", status)
        if status == "failed":
            self._span.set_attribute("error.type", code or "unknown")
            self._span.set_status(StatusCode.ERROR, code)
        self._span.end(end_time=_nanoseconds(at))


class Tracer:
    """Makes the spans of jobs, or none."""

    def __init__(self, provider: "TracerProvider | None" = None) -> None:
        """Spans go to `provider`, which is closed with this tracer; without one there are none."""
        self._provider = provider
        self._tracer = provider.get_tracer("fantasyid_engine.server", __version__) if provider else None

    def begin(self, job_id: str, model: str, at: float, traceparent: str | None = None) -> JobSpan:
        """A job begins.

        Args:
            job_id: names it.
            model: that renders it.
            at: when, seconds since 1970.
            traceparent: W3C trace context of the request, as it came; what is none is ignored.
        """
        if self._tracer is None:
            return JobSpan(None, None, None)
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": traceparent} if traceparent else {}
        parent = TraceContextTextMapPropagator().extract(carrier, Context())
        attributes = {"fantasyid.job_id": job_id, "fantasyid.model": model}
        span = self._tracer.start_span(
            "video job", context=parent, kind=SpanKind.CONSUMER, attributes=attributes, start_time=_nanoseconds(at)
        )
        return JobSpan(self._tracer, span, set_span_in_context(span, parent))

    def close(self) -> None:
        """Sends what is left; it may block for some seconds."""
        if self._provider is not None:
            self._provider.shutdown()


def tracer_of_environment() -> Tracer:
    """The tracer that the environment's variables ask for.

    Raises:
        ConfigError: they ask for one, but the extra `otel` is not installed.
    """
    asked = next((name for name in ENDPOINTS if os.environ.get(name, "").strip()), None)
    if asked is None:
        return Tracer()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(
            f"{asked} is set, but OpenTelemetry is missing; pip install 'fantasyid-engine[otel]', or unset it"
        ) from None
    names = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
    provider = TracerProvider(
        resource=Resource.create({**names, "service.version": __version__}),
        shutdown_on_exit=False,  # `Tracer.close` does it
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)
