"""What the routes' OpenAPI entries share: bodies that are read by `bodies` and not by the framework, and errors."""

from typing import Any

from fantasyid_engine.server.schemas import Error

HEADER = {"schema": {"type": "string"}}
RETRY = {"Retry-After": {"description": "Seconds after which to try again.", **HEADER}}
POLL = {"openai-poll-after-ms": {"description": "Milliseconds after which to ask again.", **HEADER}}
ERRORS = {
    400: "The request cannot be served as it is; `code` and `param` say why.",
    401: "The API key is missing or not valid.",
    403: "A browser sent this from a page of another server.",
    404: "There is no such video, or it is another key's; or there is no such model.",
    409: "It cannot be done in this state; `code` says why.",
    413: "The body is too long.",
    415: "The body is neither a form nor JSON.",
    416: "The file has no such range.",
    421: "The `Host` header names another server.",
    429: "Too many jobs wait, or were made in the last minute.",
    500: "Something that nobody foresaw, or a worker that died of the job again and again.",
    503: "Not now: the server is loading, being stopped, or out of memory.",
    507: "The server's disk is full.",
}
ALWAYS = (401, 421, 500, 503, 507)
KEYLESS = (421, 500)
CHANGES = (403,)
TAKES_BODY = (400, 403, 413, 415, 429)


def errors(*statuses: int, always: tuple[int, ...] = ALWAYS) -> dict[int | str, dict[str, Any]]:
    """Entries of the statuses, in the one shape of errors."""
    told = sorted({*statuses, *always})
    return {
        status: {"model": Error, "description": ERRORS[status], **({"headers": RETRY} if status in (429, 503) else {})}
        for status in told
    }


def takes(schema: str, *, required: bool = True) -> dict[str, Any]:
    """The entry of a body that is a form or JSON; see `openapi` for the schemas."""
    content = {
        "application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}},
        "multipart/form-data": {"schema": {"$ref": f"#/components/schemas/{schema}Form"}},
    }
    return {"requestBody": {"required": required, "content": content}}


def file_of(
    media_type: str, *, headers: dict[str, Any] | None = None, description: str = "The file."
) -> dict[str, Any]:
    """The entry of an answer that is a file."""
    content = {media_type: {"schema": {"type": "string", "format": "binary"}}}
    return {"description": description, "content": content, **({"headers": headers} if headers else {})}
