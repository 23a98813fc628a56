"""A file as an answer: whole, one range of it, or nothing where the client has it already.

One range is served, as players ask for it. Several at once, and what cannot be read, get the whole file, as HTTP
allows: many ranges are how this header takes servers down (CVE-2025-62727).
"""

import asyncio
import re
from pathlib import Path

from fastapi.responses import FileResponse, Response
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from fantasyid_engine.server.errors import ApiError, not_found

RANGE = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


async def ranged(path: Path, headers: Headers, *, etag: str, media_type: str, filename: str) -> Response:
    """The answer to a request with these headers.

    Raises:
        ApiError: the file is gone, or has no such range.
    """
    try:
        status = await asyncio.to_thread(path.stat)
    except OSError:
        raise not_found() from None
    about = {"etag": etag, "cache-control": "private, no-cache"}
    if etag in [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=about)
    asked = headers.get("range", "") if headers.get("if-range", etag) == etag else ""
    answer = FileResponse if _is_one_range(asked, status.st_size) else _Whole
    return answer(path, headers=about, media_type=media_type, filename=filename, stat_result=status)


def _is_one_range(text: str, size: int) -> bool:
    match = RANGE.fullmatch(text)
    if match is None or (match[2] and int(match[2]) < int(match[1])):
        return False
    if int(match[1]) >= size if match[1] else int(match[3]) == 0:
        headers = {"content-range": f"bytes */{size}"}
        raise ApiError(416, "range_not_satisfiable", f"the file has {size} bytes, and none there", headers=headers)
    return True


class _Whole(FileResponse):
    """Whatever the header says."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [header for header in scope["headers"] if header[0] != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)
