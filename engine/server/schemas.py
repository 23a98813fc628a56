"""What goes over the wire: bodies of requests and answers, as OpenAI's video API has them and beyond.

Requests name fields by the field's standard terms. Values are checked in `checks` by `VideoRequest` and the model's
facts, so that they are refused with the engine's own codes; the limits below only tell of them.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from fantasyid_engine.request import LARGEST_SEED, MOST_CONSENT, MOST_SHAPE, MOST_STEPS, is_text
from fantasyid_engine.server.jobs import State

JOB_ID = "^video_[0-9a-f]{32}$"
SHA256 = "^[0-9a-f]{64}$"


def _text(value: str) -> str:
    if not is_text(value):
        raise ValueError("is no text, or holds characters that are none")
    return value


Text = Annotated[str, AfterValidator(_text)]
Prompt = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1})]


class Strict(BaseModel):
    """A body that may hold nothing unknown, and no value that must be guessed."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Reference(Strict):
    """A photo, as clients of OpenAI's API name one in JSON."""

    image_url: Text | None = Field(None, description="A data URL (`data:image/png;base64,...`).")
    file_id: Text | None = Field(None, description="The id of an earlier video of yours: its photo is used again.")


def _within(least: float, most: float) -> dict[str, Any]:
    return {"minimum": least, "maximum": most}


def _optional(kind: str, **rules: Any) -> WithJsonSchema:
    """The schema of a field that may be left out or null."""
    return WithJsonSchema({"anyOf": [{"type": kind, **rules}, {"type": "null"}]})


class VideoSettings(Strict):
    """What may be set of a video, made or remixed."""

    model: Text | None = Field(None, description="The name that `GET /v1/models` tells; left out, it is that one.")
    seconds: str | int | None = Field(None, description='Whole seconds of the video, such as "6"; see `num_frames`.')
    size: Text | None = Field(None, description="`WIDTHxHEIGHT` of the model; left out, it is that one.")
    negative_prompt: Annotated[str | None, _optional("string")] = Field(None, description="What to keep away from.")
    seed: Annotated[int | None, _optional("integer", **_within(0, LARGEST_SEED))] = Field(
        None, description="Of all noise; drawn where it is left out, and told in the answer."
    )
    num_inference_steps: Annotated[int | None, _optional("integer", **_within(1, MOST_STEPS))] = Field(
        None, description="Denoising steps."
    )
    guidance_scale: Annotated[float | None, _optional("number", **_within(1, 100))] = Field(
        None, description="How strongly the prompt steers; 1 turns guidance off."
    )
    fps: int | None = Field(None, description="Frames a second; each model has one.")
    num_frames: int | None = Field(None, description="Frames; `GET /v1/models` tells which counts there are.")
    face_index: Annotated[int | Literal["largest", "center"] | None, Field(union_mode="left_to_right")] = Field(
        None, description="Which face of several: its number, the largest first and counted from 1."
    )
    shape: (
        dict[str, Annotated[float, WithJsonSchema({"type": "number", **_within(-MOST_SHAPE, MOST_SHAPE)})]] | None
    ) = Field(None, description="Standard deviations to change the face's shape by, by the model's names.")
    priority: Annotated[int, Field(ge=-100, le=100)] = Field(0, description="Your jobs of the highest go first.")
    idempotency_key: Annotated[Text, Field(min_length=1, max_length=255)] | None = Field(
        None, description="The same key and request give the same video; also as the header `Idempotency-Key`."
    )
    webhook_url: Annotated[Text, Field(max_length=2_000)] | None = Field(
        None, description="Is sent a signed note when the video is completed or has failed."
    )
    consent_ref: Annotated[str | None, _optional("string", minLength=1, maxLength=MOST_CONSENT)] = Field(
        None, description="Names the agreement of the person that is shown."
    )


class CreateVideo(VideoSettings):
    """A video to make."""

    prompt: Prompt = Field(description="What happens in the video; who is in it comes from the photo.")
    input_reference: Text | Reference = Field(
        description="The photo: a data URL, or the id of an earlier video of yours; in a form, a file."
    )


class RemixVideo(VideoSettings):
    """A video of the same face; what is left out is as it was."""

    prompt: Prompt = Field(description="What happens in the new video.")


class PurgeSubject(Strict):
    """A person to forget: one of the three."""

    photo: Text | None = Field(None, description="The photo's file as it was uploaded; in JSON, a data URL.")
    photo_sha256: Annotated[str, Field(pattern=SHA256)] | None = Field(None, description="Or the digest of its bytes.")
    consent_ref: Annotated[Text, Field(min_length=1)] | None = Field(None, description="Or what jobs named.")


class VideoError(BaseModel):
    """Why a video failed; `cancelled` where somebody stopped it."""

    code: str
    message: str


class Video(BaseModel):
    """A video, from the moment it is asked for. Times are whole seconds since 1970."""

    id: Annotated[str, Field(pattern=JOB_ID)]
    object: Literal["video"] = "video"
    status: State
    progress: Annotated[int, Field(ge=0, le=100)]
    created_at: int
    completed_at: int | None
    expires_at: int | None
    model: str
    seconds: str
    size: str
    prompt: str | None
    error: VideoError | None
    remixed_from_video_id: str | None
    seed: int
    num_frames: int
    fps: int
    duration_s: float
    stage: str | None = Field(description="Of the render, while it is in progress.")
    stage_durations: dict[str, float] = Field(description="Seconds by stage, once it is completed.")
    queue_position: int | None = Field(description="1 is next; not told in lists.")
    eta_s: float | None = Field(description="Seconds until it is completed, as far as can be told.")
    priority: int
    consent_ref: str | None
    notes: list[str] = Field(description="What is worth knowing, such as a prompt that was cut.")
    frames_sha256: str | None = Field(description="Digest of the frames before they were encoded.")


class VideoList(BaseModel):
    """A page of videos."""

    object: Literal["list"] = "list"
    data: list[Video]
    first_id: str | None
    last_id: str | None
    has_more: bool


class VideoDeleted(BaseModel):
    """A video that is gone with all its files."""

    id: str
    object: Literal["video.deleted"] = "video.deleted"
    deleted: bool = True


class Model(BaseModel):
    """The model that is served, and what may be asked of it."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["fantasyid-engine"] = "fantasyid-engine"
    trained: bool = Field(description="False where its weights come from a seed: its videos show noise.")
    size: str
    fps: int
    frame_counts: list[int] = Field(description="Numbers of frames that it makes, the default last.")
    seconds: list[str] = Field(description="The same in whole seconds.")
    num_inference_steps: int = Field(description="Its default.")
    max_inference_steps: int
    guidance_scale: float = Field(description="Its default.")
    shape_names: list[str]
    one_face: bool = Field(description="The picture is the crop; there is no other face to choose.")
    consent_required: bool = Field(description="Every video must name a `consent_ref`.")


class ModelList(BaseModel):
    """All models: the one that is served, or none while it has never been loaded."""

    object: Literal["list"] = "list"
    data: list[Model]


class Health(BaseModel):
    """Of the server."""

    status: Literal["ok"] = "ok"


class Purged(BaseModel):
    """What is gone."""

    object: Literal["purge"] = "purge"
    jobs: int
    cancelled: int
    photos: int = Field(description="That these jobs were of.")
    videos: int


class ErrorBody(BaseModel):
    """What went wrong, in one line: what, where, what to do."""

    code: str
    message: str
    type: str
    param: str | None


class Error(BaseModel):
    """An answer that is an error."""

    error: ErrorBody
