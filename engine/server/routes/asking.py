"""What routes take from a request beside its body: the service, and who asks within what.

All are `async`, or each would take a thread.
"""

from typing import Annotated

from fastapi import Depends, Header, Path, Request

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.service import Asked, Service

MOST_TRACEPARENT = 55


async def _service(request: Request) -> Service:
    return request.app.state.service


async def _asked(
    caller: Asking,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="The same key and request give the same video."),
    ] = None,
    traceparent: Annotated[str | None, Header(description="W3C trace context.", include_in_schema=False)] = None,
) -> Asked:
    within = traceparent if traceparent and len(traceparent) <= MOST_TRACEPARENT and traceparent.isascii() else None
    return Asked(caller, idempotency_key, within)


Serving = Annotated[Service, Depends(_service)]
AskedWith = Annotated[Asked, Depends(_asked)]
VideoId = Annotated[str, Path(max_length=200, description="`video_` and 32 hexadecimal digits.")]
