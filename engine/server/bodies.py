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
from starlette.datastructures import UploadFile

from fantasyid_engine.errors import OutputError, some_of
from fantasyid_engine.server.errors import ApiError, bad
from fantasyid_engine.server.forms import from_form, loads, with_extras

FORM, JSON = "multipart/form-data", "application/json"
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
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == JSON:
        value = await asyncio.to_thread(loads, await request.body(), "the body")
        if not isinstance(value, dict):
            raise bad("invalid_json", "the body must be a JSON object")
        yield Body(with_extras(value), {})
    elif kind == FORM:
        try:
            form = await request.form(max_files=len(files), max_fields=MOST_FIELDS, max_part_size=most_bytes)
        except OSError as error:
            raise OutputError("a form's file cannot be kept") from error
        try:
            uploads = {name: value for name, value in form.multi_items() if isinstance(value, UploadFile)}
            unknown = [name for name in uploads if name not in files]
            if unknown:
                raise bad("unexpected_file", f"{some_of(unknown)!r} may not be a file", unknown[0][:100])
            fields = from_form((name, value) for name, value in form.multi_items() if isinstance(value, str))
            yield Body(with_extras(fields), uploads)
        finally:
            await form.close()
    else:
        message = f"a body of {kind[:100] or 'unnamed type'} cannot be read; send {FORM} or {JSON}"
        raise ApiError(415, "unsupported_media_type", message)


def checked(fields: dict[str, Any], shape: type[Shape]) -> Shape:
    """Fields as an object.

    Raises:
        ApiError: naming the first field that is unknown, missing, or of another type.
    """
    known = list(shape.model_fields)
    for name in fields:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {some_of(known, most=50)}"
            raise bad("unknown_parameter", f"there is no parameter {name[:100]!r}; {hint}", name[:100])
    try:
        return shape.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:200]
        name = str(first["loc"][0])[:100] if first["loc"] else None
        if first["type"] == "missing":
            raise bad("missing_parameter", f"{place} is missing", name) from None
        raise bad("invalid_parameter", f"{place}: {first['msg']}", name) from None
