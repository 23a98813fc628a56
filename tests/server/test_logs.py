"""Each event is one JSON line; prompts are not in it, and nothing from outside can forge one."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.server.logs import NAME, configure_logs, get_log

NAMES = ("", NAME, "uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "asyncio", "python_multipart")


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NAMES]
    kept = [(one.handlers[:], one.level, one.propagate, one.disabled) for one in loggers]
    disabled = logging.root.manager.disable
    yield
    for one, (handlers, level, propagate, off) in zip(loggers, kept, strict=True):
        one.handlers[:], one.propagate, one.disabled = handlers, propagate, off
        one.setLevel(level)
    logging.disable(disabled)
    structlog.contextvars.clear_contextvars()


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(*, redact_prompts: bool = True) -> io.StringIO:
    stream = io.StringIO()
    configure_logs(stream, redact_prompts)
    return stream


def test_an_event_is_one_json_line_with_its_fields() -> None:
    stream = configured()
    get_log().info("job_done", job_id="video_1", render_s=1.5, stages={"decode": 1.0})
    (event,) = logged(stream)
    at = datetime.fromisoformat(event.pop("timestamp"))
    assert at.utcoffset() is not None and abs((datetime.now(at.tzinfo) - at).total_seconds()) < 3600
    assert event == {
        "event": "job_done",
        "level": "info",
        "job_id": "video_1",
        "render_s": 1.5,
        "stages": {"decode": 1.0},
    }
    assert stream.getvalue().endswith("\n")


def test_a_bound_job_is_on_all_its_events() -> None:
    stream = configured()
    log = get_log().bind(job_id="video_1")
    log.info("one")
    log.warning("two")
    with structlog.contextvars.bound_contextvars(request_id="r"):
        get_log().info("three")
    get_log().debug("four")
    assert [(e["event"], e["level"], e.get("job_id"), e.get("request_id")) for e in logged(stream)] == [
        ("one", "info", "video_1", None),
        ("two", "warning", "video_1", None),
        ("three", "info", None, "r"),
    ]


def test_prompts_are_told_by_digest_and_length_wherever_they_are() -> None:
    stream = configured()
    get_log().info(
        "job_made",
        prompt="a secret smile",
        negative_prompt=None,
        settings={"prompt": "a secret smile", "deeper": [{"negative_prompt": "ugly secret"}], "seed": 7},
    )
    (event,) = logged(stream)
    digest = {"sha256": "fcb5d8c1ba5a", "length": 14}
    assert event["prompt"] == event["settings"]["prompt"] == digest
    assert event["negative_prompt"] is None and event["settings"]["seed"] == 7
    assert event["settings"]["deeper"][0]["negative_prompt"]["length"] == 11
    assert "secret" not in stream.getvalue()


def test_prompts_are_told_as_they_are_where_that_is_wanted() -> None:
    stream = configured(redact_prompts=False)
    get_log().info("job_made", prompt="smiles")
    assert logged(stream)[0]["prompt"] == "smiles"


@settings(max_examples=50, deadline=None)
@given(st.text(), st.text(alphabet=st.characters(categories=["Cc", "Zl", "Zp", "Cf"])) | st.just("\udcff"))
def test_no_text_makes_a_second_line(text: str, control: str) -> None:
    stream = configured(redact_prompts=False)
    get_log().info("job_made", prompt=text + control, worker=control)
    logging.getLogger("library").warning("%s", control + text)
    written = stream.getvalue()
    assert written.count("\n") == 2 and len(written.splitlines()) == 2
    assert written.isascii() and written.replace("\n", "").isprintable()
    first, second = logged(stream)
    assert first["prompt"] == text + control and second["event"] == control + text


def test_an_exception_is_one_field() -> None:
    stream = configured()
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        get_log().exception("broken", job_id="video_1")
        logging.getLogger("library").exception("broken too")
    ours, theirs = logged(stream)
    assert ours["exception"].endswith("ValueError: first\nsecond") and ours["level"] == "error"
    assert theirs["exception"] == ours["exception"] and theirs["logger"] == "library"
    assert "exc_info" not in ours | theirs


def test_what_the_command_line_turned_off_is_on_again() -> None:
    logging.disable(logging.CRITICAL)
    stream = configured()
    get_log().info("serving")
    assert [event["event"] for event in logged(stream)] == ["serving"]


def test_libraries_go_the_same_way_and_uvicorn_tells_no_requests() -> None:
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [logging.StreamHandler(io.StringIO())], False
    stream = configured()
    logging.getLogger("uvicorn.error").info("Started server process [%d]", 7, extra={"color_message": "\x1b[36m"})
    logging.getLogger("uvicorn.access").info('%s - "%s"', "10.0.0.1:1", "GET /v1/videos?key=1")
    logging.getLogger("httpx").info("HTTP Request: POST http://10.0.0.1")
    logging.getLogger("httpx").warning("odd")
    events = [{key: event[key] for key in ("event", "level", "logger")} for event in logged(stream)]
    assert events == [
        {"event": "Started server process [7]", "level": "info", "logger": "uvicorn.error"},
        {"event": "odd", "level": "warning", "logger": "httpx"},
    ]


def test_setting_up_again_does_not_tell_things_twice() -> None:
    first, second = configured(), configured()
    get_log().info("once")
    assert first.getvalue() == "" and len(logged(second)) == 1


def test_many_threads_write_whole_lines() -> None:
    stream = configured()

    async def run() -> None:
        log = get_log()
        await asyncio.gather(*(asyncio.to_thread(log.info, "event", number=n, text="x" * 500) for n in range(200)))

    asyncio.run(run())
    assert sorted(event["number"] for event in logged(stream)) == list(range(200))


def test_nothing_is_written_to_standard_output_before_logs_are_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    get_log().info("early", prompt="x")
    assert capsys.readouterr().out == ""
