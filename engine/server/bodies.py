"""The body of a request -> a checked object of `schemas`, and the photo's file where the body is a form with one.

Multipart forms and JSON hold the same fields. Files of forms wait on disk until they are read, one at a time; how long
a body may be is held by `limits` while it comes in.
"""

import asyncio
import difflib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from fantasyid_engine.errors import OutputError, some_of
from fantasyid_engine.server.errors import MOST_NAME_CHARS, ApiError, bad
from fantasyid_engine.server.forms import from_form, loads, with_extras

FORM, JSON = "multipart/form-data", "application/json"
CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
"""What the text of forms may be in; of Python's other codecs, some take minutes for what others read at once."""
MOST_FIELDS = 200
Shape = TypeVar("Shape", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Body:
    """What came: fields as JSON would have them, and a file by the field that it came in."""

    fields: dict[str, Any]
    files: Mapping[str, UploadFile]


@asynccontextmanager
async def read_body(request: Request, *, files: tuple[str, ...], most_bytes: int) -> AsyncIterator[Body]:
    """The body; its files are there while the context lasts.

    Args:
        request: which is read to its end.
        files: fields that may be files; no other may.
        most_bytes: of a field.

    Raises:
        ApiError: it is neither a form nor JSON, cannot be read, or has a file that it may not have.
    """
    name, options = parse_options_header(request.headers.get("content-type"))
    kind, charset = name.decode("latin-1"), options.get(b"charset", b"utf-8").decode("latin-1")
    if kind == JSON:
        value = await _json(request)
        if not isinstance(value, dict):
            raise bad("invalid_json", "the body must be a JSON object")
        yield Body(with_extras(value), {})
    elif kind == FORM:
        if charset.lower() not in CHARSETS:
            message = f"the form's charset is {charset[:MOST_NAME_CHARS]!r}; send {FORM} in UTF-8"
            raise ApiError(415, "unsupported_media_type", message)
        form = await _form(request, most_files=len(files), most_bytes=most_bytes)
        try:
            uploads = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
            unknown = [name for name in uploads if name not in files]
            if unknown:
                raise bad("unexpected_file", f"{some_of(unknown)!r} may not be a file", unknown[0])
            fields = from_form((name, value) for name, value in form.multi_items() if isinstance(value, str))
            yield Body(with_extras(fields), uploads)
        finally:
            await form.close()
    else:
        message = f"a body of {kind[:MOST_NAME_CHARS] or 'unnamed type'} cannot be read; send {FORM} or {JSON}"
        raise ApiError(415, "unsupported_media_type", message)


async def _json(request: Request) -> Any:
    """Read without `Request.body`, which keeps it for as long as the request waits for its video."""
    text = bytearray()
    async for chunk in request.stream():
        text += chunk
    return await asyncio.to_thread(loads, text, "the body")


async def _form(request: Request, *, most_files: int, most_bytes: int) -> FormData:
    """Read without `Request.form`, which keeps it too."""
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=most_files, max_fields=MOST_FIELDS, max_part_size=most_bytes
    )
    try:
        return await parser.parse()
    except MultiPartException as error:
        raise bad("invalid_body", f"the body cannot be read: {error.message}") from None
    except OSError as error:
        raise OutputError("a form's file cannot be kept") from error


def checked(fields: dict[str, Any], shape: type[Shape]) -> Shape:
    """Fields as an object.

    Raises:
        ApiError: naming the first field that is unknown, missing, or of another type.
    """
    known = list(shape.model_fields)
    for name in fields:
        if name not in known:
            name = name[:MOST_NAME_CHARS]
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {some_of(known, most=50)}"
            raise bad("unknown_parameter", f"there is no parameter {name!r}; {hint}", name)
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        name = str(first["loc"][0]) if first["loc"] else None
        if first["type"] == "missing":
            raise bad("missing_parameter", f"{place} is missing", name) from None
        raise bad("invalid_parameter", f"{place}: {first['msg']}", name) from None
