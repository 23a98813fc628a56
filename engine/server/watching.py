"""A job as it goes on: for server-sent events, and for those who wait for its video.

What is stored is read anew at each change that the hub tells of, and now and then in any case. Whoever watches a job
that is deleted, or a server that stops, is let go.
"""

import asyncio
from collections.abc import AsyncIterator

from fantasyid_engine.server.access import Caller
from fantasyid_engine.server.errors import ApiError
from fantasyid_engine.server.jobs import FINAL, Job
from fantasyid_engine.server.schemas import Video
from fantasyid_engine.server.service import Service

LOOK_S = 1.0
"""How long nothing but a change is looked for."""
HEARTBEAT_S = 15.0
CALM_S = 0.1
"""Between two events, so that fast steps do not flood who watches."""


async def states(service: Service, job: Job, caller: Caller) -> AsyncIterator[tuple[Job, Video]]:
    """The job now, after each change, and at least every `LOOK_S`, up to a final state."""
    seen = 0
    while True:
        try:
            job, video = await service.look(job.id, caller)
        except ApiError:  # deleted
            return
        yield job, video
        if job.state in FINAL or service.stopping.is_set():
            return
        seen = await service.hub.wait(job.id, seen, LOOK_S)


async def events(service: Service, job: Job, caller: Caller) -> AsyncIterator[bytes]:
    """Lines of a stream of events: `video` with the whole video whenever it changes, comments while nothing does."""
    loop = asyncio.get_running_loop()
    told: Video | None = None
    said, number = loop.time(), 0
    async for _, shown in states(service, job, caller):
        if told is None or _differs(shown, told):
            told, said, number = shown, loop.time(), number + 1
            yield f"event: video\nid: {number}\ndata: {shown.model_dump_json()}\n\n".encode()
            await asyncio.sleep(CALM_S)
        elif loop.time() - said > HEARTBEAT_S:
            said = loop.time()
            yield b": still here\n\n"


def _differs(shown: Video, told: Video) -> bool:
    """In more than the estimate, which is another one every time."""
    return shown.model_copy(update={"eta_s": None}) != told.model_copy(update={"eta_s": None})


async def end_of(service: Service, job: Job, caller: Caller) -> Job | None:
    """The job in its final state; None where it was deleted, or the server stops before."""
    async for state, _ in states(service, job, caller):
        job = state
    return job if job.state in FINAL else None
