"""Files of a video: the video itself, pictures of it, and how it looks so far."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.errors import ApiError, not_found
from fantasyid_engine.server.jobs import Job
from fantasyid_engine.server.ranges import ranged
from fantasyid_engine.server.routes.asking import Serving, VideoId
from fantasyid_engine.server.routes.described import HEADER, errors, file_of
from fantasyid_engine.server.service import Service

router = APIRouter(prefix="/v1", tags=["videos"])
Variant = Literal["video", "thumbnail", "spritesheet"]
MEDIA = {"video": ("video/mp4", "mp4"), "thumbnail": ("image/webp", "webp"), "spritesheet": ("image/jpeg", "jpg")}
FILE_HEADERS = {"ETag": HEADER, "Content-Disposition": HEADER, "Accept-Ranges": HEADER}
PART_HEADERS = {**FILE_HEADERS, "Content-Range": HEADER}
FILES = {type: {"schema": {"type": "string", "format": "binary"}} for type, _ in MEDIA.values()}


async def file_response(request: Request, service: Service, job: Job, variant: Variant) -> Response:
    """A file of a completed job; raises ApiError `not_ready` for others."""
    if job.state != "completed":
        why = "it has failed" if job.state == "failed" else "it is not completed yet"
        # Clients of OpenAI's API try a 409 again, which helps nobody here.
        raise ApiError(409, "not_ready", f"the video has no files: {why}", headers={"x-should-retry": "false"})
    media_type, ending = MEDIA[variant]
    path = service.files.video(job.id, variant)
    name = f"{job.id}.{ending}" if variant == "video" else f"{job.id}_{variant}.{ending}"
    return await ranged(path, request.headers, etag=f'"{job.id}-{variant}"', media_type=media_type, filename=name)


@router.head("/videos/{video_id}/content", include_in_schema=False)
@router.get(
    "/videos/{video_id}/content",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": FILES, "headers": FILE_HEADERS},
        206: {"description": "The range of the file.", "content": FILES, "headers": PART_HEADERS},
        304: {"description": "The client has it already."},
        **errors(400, 404, 409, 416),
    },
)
async def download_content(
    request: Request,
    service: Serving,
    caller: Asking,
    video_id: VideoId,
    variant: Annotated[Variant, Query(description="The video, its first frame, or frames from all of it.")] = "video",
) -> Response:
    """Download a completed video, or pictures of it; one range at a time may be asked for."""
    return await file_response(request, service, await service.get(video_id, caller), variant)


@router.get(
    "/videos/{video_id}/preview",
    response_class=Response,
    responses={200: file_of("image/jpeg"), **errors(400, 404)},
)
async def preview(service: Serving, caller: Asking, video_id: VideoId) -> Response:
    """How a video in progress looks so far; 404 where there is nothing to see yet, or no more."""
    job = await service.get(video_id, caller)
    if job.state != "in_progress" or job.lease is None:
        raise not_found("preview")
    try:
        data = await asyncio.to_thread(service.files.preview(job.lease).read_bytes)
    except OSError:
        raise not_found("preview") from None
    return Response(data, media_type="image/jpeg")
