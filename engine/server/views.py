"""A job -> the video that clients see, and the facts of a model -> the model that they see."""

import math

from fantasyid_engine.server.checks import allowed_counts, seconds_of, size_of
from fantasyid_engine.server.hub import Live
from fantasyid_engine.server.jobs import FINAL, Job
from fantasyid_engine.server.messages import Facts
from fantasyid_engine.server.schemas import Model, Video, VideoError
from fantasyid_engine.server.settings import Settings

LEAST_POLL_MS, POLL_MS, MOST_POLL_MS = 250, 1_000, 5_000


def eta_s(position: int, mean_render_s: float | None, workers: int) -> float | None:
    """Seconds until a job that waits is completed, where all workers are busy: 1 is next; None where nobody knows."""
    return None if mean_render_s is None else math.ceil(position / max(workers, 1)) * mean_render_s


def video(job: Job, live: Live | None, position: int | None = None, wait_s: float | None = None) -> Video:
    """A job as clients see it; `live` of one under way, `position` and `wait_s` of one that waits."""
    under_way = live if job.state == "in_progress" else None
    settings, result = job.settings, job.result
    return Video(
        id=job.id,
        status=job.state,
        progress=100 if job.state == "completed" else under_way.percent if under_way else 0,
        created_at=int(job.created_at),
        completed_at=int(job.finished_at) if job.finished_at is not None and job.state == "completed" else None,
        expires_at=None if job.expires_at is None else int(job.expires_at),
        model=job.model,
        seconds=seconds_of(job.num_frames, job.fps),
        size=job.size,
        prompt=settings.get("prompt"),
        error=VideoError(code=job.error_code or "failed", message=job.error_message or "it failed")
        if job.state == "failed"
        else None,
        remixed_from_video_id=job.remixed_from,
        seed=settings["seed"],
        num_frames=job.num_frames,
        fps=job.fps,
        duration_s=job.num_frames / job.fps,
        stage=under_way.stage if under_way else None,
        stage_durations=result.get("durations_s") or {},
        queue_position=position,
        eta_s=under_way.eta_s if under_way else wait_s,
        priority=job.priority,
        consent_ref=settings.get("consent_ref"),
        notes=list(result.get("notes") or (under_way.notes if under_way else ())),
        frames_sha256=result.get("frames_sha256"),
    )


def poll_after_ms(seen: Video) -> int | None:
    """Milliseconds after which it is worth asking again; None for a final state."""
    if seen.status in FINAL:
        return None
    if seen.eta_s is None:
        return POLL_MS
    return round(min(max(seen.eta_s * 100, LEAST_POLL_MS), MOST_POLL_MS))


def model(facts: Facts, settings: Settings, *, created: int) -> Model:
    """The model as clients see it."""
    counts = allowed_counts(facts, settings)
    return Model(
        id=facts.name,
        created=created,
        trained=facts.trained,
        size=size_of(facts),
        fps=facts.fps,
        frame_counts=counts,
        seconds=[seconds_of(count, facts.fps) for count in counts],
        num_inference_steps=min(facts.num_inference_steps, settings.max_steps),
        max_inference_steps=settings.max_steps,
        guidance_scale=facts.guidance_scale,
        shape_names=list(facts.shape_names),
        one_face=facts.one_face,
        consent_required=settings.require_consent,
    )
