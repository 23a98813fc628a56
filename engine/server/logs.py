"""Logs: one JSON object a line and an event, of this server and of the libraries that it uses.

    {"timestamp": "2026-01-31T12:00:00.000000Z", "level": "info", "event": "job_done", "job_id": "video_...", ...}

JSON escapes what could forge a line. A prompt is replaced by its length and the first digits of its digest, wherever it
is in an event. A traceback is one field.
"""

import hashlib
import logging
from collections.abc import MutableMapping
from functools import cache
from typing import Any, TextIO

import structlog
from structlog.stdlib import BoundLogger, ProcessorFormatter

NAME = "fantasyid_engine.server"
SECRET_FIELDS = frozenset({"prompt", "negative_prompt"})
DIGEST_DIGITS = 12
QUIET = ("httpx", "httpcore", "asyncio", "python_multipart")
"""Libraries that tell of each request what is told here, or of addresses that are nobody's business: warnings only."""

Event = MutableMapping[str, Any]


def configure_logs(stream: TextIO, redact_prompts: bool) -> None:
    """Sends all logs of this process to `stream` as JSON lines, in place of whatever was set up before.

    Args:
        stream: one line is written at a time, and flushed.
        redact_prompts: fields `prompt` and `negative_prompt` become `{"sha256": ..., "length": ...}`.
    """
    logging.disable(logging.NOTSET)  # the command line turns the logs of libraries off
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        ProcessorFormatter(
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                *([_redact] if redact_prompts else []),
                structlog.processors.JSONRenderer(sort_keys=False),
            ],
            foreign_pre_chain=[*_common(), structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers[:], logger.propagate = [], True
    # Its lines are plain text with addresses; the server logs requests itself.
    logging.getLogger("uvicorn.access").disabled = True


@cache
def get_log() -> BoundLogger:
    """The server's log: `get_log().info("job_done", job_id=...)`; until logs are set up, warnings go to stderr."""
    log = structlog.wrap_logger(
        logging.getLogger(NAME),
        processors=[structlog.stdlib.filter_by_level, *_common(), ProcessorFormatter.wrap_for_formatter],
        wrapper_class=BoundLogger,
        context_class=dict,
    )
    return log.bind()


def _common() -> list[structlog.typing.Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _redact(logger: Any, method: str, event: Event) -> Event:
    """A processor of structlog."""
    return {name: _without_prompts(name, value) for name, value in event.items()}


def _without_prompts(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _without_prompts(str(inner), item) for inner, item in value.items()}
    if name not in SECRET_FIELDS or value is None:
        return [_without_prompts(name, item) for item in value] if isinstance(value, list | tuple) else value
    text = str(value)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return {"sha256": digest[:DIGEST_DIGITS], "length": len(text)}
