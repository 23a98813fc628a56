"""Answers that last as long as a render: the video itself, and what happens on the way to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.errors import FAILED_AS, ApiError, answer, later
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.routes.asking import AskedWith, Serving, VideoId
from fantasyid_engine.server.routes.content import file_response
from fantasyid_engine.server.routes.described import HEADER, TAKES_BODY, errors, file_of, takes
from fantasyid_engine.server.routes.videos import created
from fantasyid_engine.server.watching import end_of, events

router = APIRouter(prefix="/v1", tags=["videos"])
EVENT = {
    "type": "object",
    "properties": {
        "event": {"const": "video"},
        "id": {"type": "string"},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Video"},
        },
    },
    "required": ["data"],
}
ID = {"x-video-id": {"description": "Of the video, by which it is found later.", **HEADER}}


@router.post(
    "/videos/sync",
    response_class=Response,
    responses={200: file_of("video/mp4", headers=ID, description="The video."), **errors(404, 409, *TAKES_BODY)},
    openapi_extra=takes("CreateVideo"),
)
async def create_and_wait(request: Request, service: Serving, asked: AskedWith) -> Response:
    """Make a video and wait for it. Who goes away before cancels it, unless another request made it."""
    taken = await created(request, service, asked)
    job = taken.job
    ended = await _unless_gone(request.receive, asyncio.create_task(end_of(service, job, asked.caller)))
    if ended is None:
        if taken.made and await request.is_disconnected():
            with suppress(ApiError):
                await service.cancel(job.id, asked.caller)
        return answer(_with_id(later("interrupted", "the video was deleted, or the server is being stopped"), job))
    if ended.state == "failed":
        code = ended.error_code or "failed"
        failed = ApiError(FAILED_AS.get(code, 400), code, ended.error_message or "the video failed")
        return answer(_with_id(failed, job))
    response = await file_response(request, service, ended, "video")
    response.headers["x-video-id"] = job.id
    return response


def _with_id(error: ApiError, job: Job) -> ApiError:
    error.headers |= {"x-video-id": job.id, "x-should-retry": "false"}
    return error


async def _unless_gone(receive: Receive, waiting: asyncio.Task[Job | None]) -> Job | None:
    """What is waited for; None where the client goes away first."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    leaving = asyncio.create_task(gone())
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)


@router.get(
    "/videos/{video_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `video`, each with the whole video, until a final state.",
            "content": {"text/event-stream": {"itemSchema": EVENT}},
        },
        **errors(400, 404),
    },
)
async def video_events(service: Serving, caller: Asking, video_id: VideoId) -> StreamingResponse:
    """Server-sent events: the video now, and whenever it changes. It ends after a final state, or a deletion."""
    job = await service.get(video_id, caller)
    stream: AsyncIterator[bytes] = events(service, job, caller)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})
