"""A request against the model that is served: every setting resolved, or one line that says what is allowed instead.

`seed` is drawn here and not by the worker, so that a job that is rendered again gives the same video.
"""

import difflib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fantasyid_engine.errors import InputError, some_of
from fantasyid_engine.request import LARGEST_SEED, VideoRequest, check_consent
from fantasyid_engine.server.errors import MOST_NAME_CHARS, ApiError, bad
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.schemas import CreateVideo, RemixVideo
from fantasyid_engine.server.settings import Settings

KEPT = (
    "negative_prompt",
    "seed",
    "num_inference_steps",
    "guidance_scale",
    "num_frames",
    "face_index",
    "shape",
    "consent_ref",
)
"""What a remix takes from the video that it is of, unless it is given anew."""


@dataclass(frozen=True, slots=True)
class Checked:
    """`settings` of `VideoRequest` but for the photo, and how the video comes out."""

    settings: dict[str, Any]
    size: str
    num_frames: int
    fps: int
    model: str


def check(
    asked: CreateVideo | RemixVideo, facts: Facts, settings: Settings, *, source: Mapping[str, Any] | None = None
) -> Checked:
    """What is asked of the model.

    Args:
        asked: by the client.
        facts: of the model.
        settings: of the server, with its limits.
        source: settings of the video that this is a remix of.

    Raises:
        ApiError: something that this model or server does not do.
        InputError: a value that no model can render.
    """
    _check_fixed(asked, facts)
    kept = {name: source[name] for name in KEPT if source and source.get(name) is not None}
    given = {name: value for name in KEPT if (value := getattr(asked, name)) is not None}
    if asked.seconds is not None:
        kept.pop("num_frames", None)
    values: dict[str, Any] = {**kept, **given, "prompt": asked.prompt}
    values["num_frames"] = _num_frames(values.get("num_frames"), asked.seconds, facts, settings)
    values.setdefault("num_inference_steps", min(facts.num_inference_steps, settings.max_steps))
    values.setdefault("guidance_scale", facts.guidance_scale)
    values.setdefault("seed", secrets.randbelow(LARGEST_SEED + 1))
    request = VideoRequest(image=b"photo", **values)
    _check_limits(request, facts, settings)
    check_consent(request, required=settings.require_consent)
    return Checked(values, size_of(facts), values["num_frames"], facts.fps, facts.name)


def size_of(facts: Facts) -> str:
    """`WIDTHxHEIGHT`."""
    return f"{facts.width}x{facts.height}"


def seconds_of(num_frames: int, fps: int) -> str:
    """Whole seconds: 49 frames at 8 a second, 6.125 s, are "6"."""
    return str(num_frames // fps)


def allowed_counts(facts: Facts, settings: Settings) -> list[int]:
    """Numbers of frames that this server makes, the default last."""
    return [count for count in facts.frame_counts if settings.max_frames is None or count <= settings.max_frames]


def _check_fixed(asked: CreateVideo | RemixVideo, facts: Facts) -> None:
    if asked.model not in (None, facts.name):
        message = f"there is no model {asked.model[:100]!r} here; this server has {facts.name}"
        raise ApiError(404, "model_not_found", message, param="model")
    if asked.size not in (None, size_of(facts)):
        raise bad("size_unsupported", f"size is {asked.size[:40]!r}; this model makes {size_of(facts)}", "size")
    if asked.fps not in (None, facts.fps):
        raise bad("fps_unsupported", f"fps is {asked.fps}; this model makes {facts.fps}", "fps")


def _num_frames(num_frames: int | None, seconds: str | int | None, facts: Facts, settings: Settings) -> int:
    counts = allowed_counts(facts, settings)
    told = some_of([f'{count} frames ("{seconds_of(count, facts.fps)}" seconds)' for count in counts], most=20)
    if num_frames is not None and num_frames not in counts:
        message = f"num_frames is {num_frames}; this server makes {told or 'none: max_frames is too small'}"
        raise bad("frames_unsupported", message, "num_frames")
    if seconds is not None:
        wanted = str(seconds)
        counts = [count for count in counts if seconds_of(count, facts.fps) == wanted]
        if not counts or num_frames not in (None, *counts):
            message = f"seconds is {wanted[:40]!r}; this server makes {told} at {facts.fps} frames a second"
            raise bad("seconds_unsupported", message, "seconds")
    if num_frames is None and not counts:
        raise bad("frames_unsupported", "this server makes no videos: its max_frames is too small", "num_frames")
    return num_frames if num_frames is not None else counts[-1]


def _check_limits(request: VideoRequest, facts: Facts, settings: Settings) -> None:
    for name in ("prompt", "negative_prompt"):
        length = len(getattr(request, name))
        if length > settings.max_prompt_chars:
            message = f"{name} has {length} characters; this server takes up to {settings.max_prompt_chars}"
            raise bad("prompt_too_long", message, name)
    steps = request.num_inference_steps
    if steps is not None and steps > settings.max_steps:
        message = f"num_inference_steps is {steps}; this server allows up to {settings.max_steps}"
        raise InputError("steps_invalid", message)
    if facts.one_face and request.face_index not in (None, 1, "largest", "center"):
        raise InputError("face_index", "this model takes the picture as its crop: there is no second face to choose")
    unknown = [name for name in request.shape or {} if name not in facts.shape_names]
    if unknown and not facts.shape_names:
        raise InputError("shape_unsupported", "this model does not read the shape of a face; leave shape out")
    if unknown:
        name = unknown[0][:MOST_NAME_CHARS]
        near = difflib.get_close_matches(name, facts.shape_names, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        knows = some_of(facts.shape_names, most=50)
        raise InputError("shape_unknown", f"this model knows no shape {name!r}; {hint}it knows {knows}")
