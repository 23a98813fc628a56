"""What a job is, wherever it is spoken of: the store keeps it, workers render it, clients see it as a video."""

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

State = Literal["queued", "in_progress", "completed", "failed"]
"""A cancelled job is `failed` with the code `cancelled`: clients know these four."""
FINAL: tuple[State, ...] = ("completed", "failed")
LOCAL = "local"
"""Whose jobs are whose where no API key is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a client asks for, checked and with every setting resolved.

    Attributes:
        key_id: whose job it is.
        settings: fields of `VideoRequest`, but for the photo; `seed` is never None.
        photo_sha256: the photo, by the digest of its bytes; see `Files.photo`.
        size: `WIDTHxHEIGHT` of the frames.
        num_frames: frames of the video.
        fps: frames a second.
        model: as clients name it.
        priority: of the key's own jobs the highest goes first, from -100 to 100.
        idempotency_key: the same one with the same request gives the same job.
        request_sha256: of what the client sent; tells whether an idempotency key is used for two things.
        webhook_url: who is told when it is done.
        remixed_from: the job whose face it takes.
        traceparent: W3C trace context of the request.
    """

    key_id: str
    settings: dict[str, Any]
    photo_sha256: str
    size: str
    num_frames: int
    fps: int
    model: str
    priority: int = 0
    idempotency_key: str | None = None
    request_sha256: str = ""
    webhook_url: str | None = None
    remixed_from: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(NewJob):
    """A job as it is stored. Times are seconds since 1970.

    Attributes:
        id: `video_` and 32 hexadecimal digits.
        sequence: grows with each job made.
        state: where it is.
        attempts: workers that died of it, or with it, since it last got further.
        interruptions: times that the server itself was stopped under it, since it last got further.
        lease: names the attempt that is under way; what others say of the job no longer counts.
        lease_until: when the lease ends unless it is extended.
        worker: who has it, or had it last.
        steps_saved: denoising steps that the saved state has behind it; 0 for none.
        error_code: of a failed job.
        error_message: one line for the client.
        result: of a completed job: what the worker measured (`Done.result`).
    """

    id: str
    sequence: int
    state: State
    created_at: float
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    attempts: int = 0
    interruptions: int = 0
    lease: str | None = None
    lease_until: float | None = None
    worker: str | None = None
    steps_saved: int = 0
    error_code: str | None = None
    error_message: str | None = None
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Of a job that waits.

    Attributes:
        position: after how many turns it is claimed; 1 is the next.
        mean_render_s: seconds that one of the last renders took; None before the first.
    """

    position: int
    mean_render_s: float | None


class Taken(NamedTuple):
    """A job that was asked for: whether it was made now, and its place where it waits."""

    job: Job
    made: bool
    place: Place | None
