"""A job is a span under its request's, with its stages below; without an address for spans there are none."""

import sys
from collections.abc import Iterator

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.server.tracing import ENDPOINTS, Tracer, tracer_of_environment
from tests.server.receiver import receiver

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(spans: InMemorySpanExporter) -> Iterator[Tracer]:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(spans))
    made = Tracer(provider)
    yield made
    made.close()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in spans.get_finished_spans()}


def test_a_job_and_its_stages_have_the_times_that_are_given(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    job = tracer.begin("video_1", "fantasyid-5b", 1000.0)
    job.stage("text", 1001.0, 1002.5)
    job.stage("denoise", 1002.5, 1060.0)
    job.end("completed", None, 1061.25)
    found = by_name(spans)
    assert list(found) == ["text", "denoise", "video job"]
    whole, text = found["video job"], found["text"]
    assert (whole.start_time, whole.end_time) == (1000 * 10**9, 1061 * 10**9 + 250_000_000)
    assert (text.start_time, text.end_time) == (1001 * 10**9, 1002 * 10**9 + 500_000_000)
    assert whole.attributes == {
        "fantasyid.job_id": "video_1",
        "fantasyid.model": "fantasyid-5b",
        "fantasyid.status": "completed",
    }
    assert whole.kind == SpanKind.CONSUMER and whole.status.status_code == StatusCode.UNSET
    for stage in (text, found["denoise"]):
        assert stage.parent is not None and whole.context is not None and stage.context is not None
        assert stage.parent.span_id == whole.context.span_id and stage.context.trace_id == whole.context.trace_id


def test_a_job_hangs_under_the_request_that_made_it(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    job = tracer.begin("video_1", "m", 1.0, TRACEPARENT)
    job.end("completed", None, 2.0)
    whole = by_name(spans)["video job"]
    assert whole.parent is not None and whole.context is not None
    assert f"{whole.parent.span_id:016x}" == PARENT != f"{whole.context.span_id:016x}"
    assert f"{whole.parent.trace_id:032x}" == f"{whole.context.trace_id:032x}" == TRACE


@pytest.mark.parametrize("header", [None, "", "00-0-0-01", f"00-{'0' * 32}-{PARENT}-01", "x" * 10_000, "é\r\n"])
def test_a_parent_that_is_none_is_ignored(tracer: Tracer, spans: InMemorySpanExporter, header: str | None) -> None:
    tracer.begin("video_1", "m", 1.0, header).end("completed", None, 2.0)
    assert by_name(spans)["video job"].parent is None


def test_a_failed_job_names_its_error(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    tracer.begin("video_1", "m", 1.0).end("failed", "out_of_memory", 2.0)
    whole = by_name(spans)["video job"]
    assert whole.status.status_code == StatusCode.ERROR and whole.attributes is not None
    assert whole.attributes["error.type"] == "out_of_memory"


def test_a_job_ends_once(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    job = tracer.begin("video_1", "m", 1.0)
    job.end("completed", None, 2.0)
    job.end("failed", "late", 3.0)
    (whole,) = spans.get_finished_spans()
    assert whole.end_time == 2 * 10**9 and whole.status.status_code == StatusCode.UNSET


def test_a_clock_that_was_set_back_gives_an_empty_stage(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    job = tracer.begin("video_1", "m", 1.0)
    job.stage("text", 5.0, 4.0)
    assert by_name(spans)["text"].end_time == 5 * 10**9


def test_jobs_at_once_do_not_mix(tracer: Tracer, spans: InMemorySpanExporter) -> None:
    one, other = tracer.begin("video_1", "m", 1.0), tracer.begin("video_2", "m", 1.0)
    one.stage("text", 1.0, 2.0)
    other.stage("image", 1.0, 2.0)
    one.end("completed", None, 3.0)
    other.end("completed", None, 3.0)
    text, image = by_name(spans)["text"], by_name(spans)["image"]
    assert text.context is not None and image.context is not None
    assert text.context.trace_id != image.context.trace_id


@pytest.mark.parametrize("environment", [{}, dict.fromkeys(ENDPOINTS, ""), {"OTEL_SERVICE_NAME": "x"}])
def test_without_an_endpoint_nothing_is_made_or_imported(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.setitem(sys.modules, name, None)
    made = tracer_of_environment()
    job = made.begin("video_1", "m", 1.0, TRACEPARENT)
    job.stage("text", 1.0, 2.0)
    job.end("failed", "x", 3.0)
    made.close()
    assert not any(name.startswith("opentelemetry") for name, module in sys.modules.items() if module is not None)


@pytest.mark.parametrize("asked", ENDPOINTS)
def test_an_endpoint_without_the_extra_is_an_error(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(asked, "http://127.0.0.1:4318")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=rf"^{asked} is set, but .*pip install 'fantasyid-engine\[otel\]'"):
        tracer_of_environment()


def test_spans_go_to_the_endpoint_when_the_tracer_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiver() as collector:
        monkeypatch.setenv(ENDPOINTS[0], f"http://127.0.0.1:{collector.port}")
        monkeypatch.delenv(ENDPOINTS[1], raising=False)
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        made = tracer_of_environment()
        made.begin("video_1", "m", 1.0, TRACEPARENT).end("completed", None, 2.0)
        made.close()
        (request,) = collector.requests
    sent = ExportTraceServiceRequest.FromString(request.body).resource_spans[0]
    resource = {attribute.key: attribute.value.string_value for attribute in sent.resource.attributes}
    assert request.path == "/v1/traces" and resource["service.name"] == "fantasyid-engine"
    (span,) = sent.scope_spans[0].spans
    assert (span.name, span.trace_id.hex(), span.parent_span_id.hex()) == ("video job", TRACE, PARENT)
