"""Videos: make, look, list, stop, delete, remix."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from fantasyid_engine.server.access import Asking
from fantasyid_engine.server.bodies import checked, read_body
from fantasyid_engine.server.errors import bad, not_found
from fantasyid_engine.server.jobs import FINAL
from fantasyid_engine.server.routes.asking import AskedWith, Serving, VideoId
from fantasyid_engine.server.routes.described import CHANGES, POLL, TAKES_BODY, errors, takes
from fantasyid_engine.server.schemas import CreateVideo, Reference, RemixVideo, Video, VideoDeleted, VideoList
from fantasyid_engine.server.service import Asked, Service, Taken
from fantasyid_engine.server.uploads import no_photo
from fantasyid_engine.server.views import POLL_MS, poll_after_ms

router = APIRouter(prefix="/v1", tags=["videos"])
TOLD = {200: {"description": "The video.", "headers": POLL}}
TOLD_LIST = {200: {"description": "A page of videos.", "headers": POLL}}
PHOTO = "input_reference"


async def created(request: Request, service: Service, asked: Asked) -> Taken:
    """The job that a body asks for; raises as `Service.create`."""
    service.facts()  # before the body is read
    async with read_body(request, files=(PHOTO,), most_bytes=service.settings.max_body_bytes) as body:
        file = body.files.get(PHOTO)
        if file is None and body.fields.get(PHOTO) is None:
            raise no_photo()
        if file is not None and PHOTO in body.fields:
            raise bad("duplicate_parameter", f"{PHOTO} is given twice", PHOTO)
        fields = checked(body.fields if file is None else {**body.fields, PHOTO: "a file"}, CreateVideo)
        return await service.create(asked, fields, file or _named(fields.input_reference))


def _named(reference: str | Reference) -> str:
    """A photo that is no file of a form."""
    texts = (reference,) if isinstance(reference, str) else (reference.image_url, reference.file_id)
    named = [text for text in texts if text]
    if len(named) != 1:
        raise no_photo()
    return named[0]


def told(video: Video, response: Response) -> Video:
    """The video, and when to ask again."""
    after_ms = poll_after_ms(video)
    if after_ms is not None:
        response.headers["openai-poll-after-ms"] = str(after_ms)
    return video


@router.post("/videos", responses=TOLD | errors(404, 409, *TAKES_BODY), openapi_extra=takes("CreateVideo"))
async def create_video(request: Request, response: Response, service: Serving, asked: AskedWith) -> Video:
    """Make a video of the person in a photo."""
    taken = await created(request, service, asked)
    return told(service.show(taken.job, taken.place), response)


@router.get("/videos", responses=TOLD_LIST | errors(400))
async def list_videos(
    service: Serving,
    caller: Asking,
    response: Response,
    after: Annotated[str | None, Query(max_length=200, description="The last id of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[Literal["asc", "desc"], Query(description="By when they were made.")] = "desc",
) -> VideoList:
    """List your videos."""
    jobs, has_more = await service.page(caller, after=after, limit=limit, newest_first=order == "desc")
    data = service.show_page(jobs)
    if any(video.status not in FINAL for video in data):
        response.headers["openai-poll-after-ms"] = str(POLL_MS)
    first, last = (data[0].id, data[-1].id) if data else (None, None)
    return VideoList(data=data, first_id=first, last_id=last, has_more=has_more)


@router.get("/videos/{video_id}", responses=TOLD | errors(400, 404))
async def retrieve_video(service: Serving, caller: Asking, video_id: VideoId, response: Response) -> Video:
    """Look at a video; one that has failed is there too, with its error."""
    _, video = await service.look(video_id, caller)
    return told(video, response)


@router.post("/videos/{video_id}/cancel", responses=errors(400, 404, *CHANGES))
async def cancel_video(service: Serving, caller: Asking, video_id: VideoId) -> Video:
    """Stop a video that is not final yet: it fails with the code `cancelled`. A final one stays as it is."""
    return service.show(await service.cancel(video_id, caller), None)


@router.delete("/videos/{video_id}", responses=errors(400, 404, *CHANGES))
async def delete_video(service: Serving, caller: Asking, video_id: VideoId) -> VideoDeleted:
    """Delete a video with all its files; one in progress is stopped within a step."""
    if await service.remover.remove(video_id, key_id=caller.key_id) is None:
        raise not_found()
    return VideoDeleted(id=video_id)


@router.post(
    "/videos/{video_id}/remix", responses=TOLD | errors(404, 409, *TAKES_BODY), openapi_extra=takes("RemixVideo")
)
async def remix_video(
    request: Request, response: Response, service: Serving, asked: AskedWith, video_id: VideoId
) -> Video:
    """Make another video of the same face, with a new prompt; what is left out is as it was."""
    async with read_body(request, files=(), most_bytes=service.settings.max_body_bytes) as body:
        taken = await service.remix(asked, video_id, checked(body.fields, RemixVideo))
    return told(service.show(taken.job, taken.place), response)
