"""What the server and a worker say to each other: one JSON object a line, over a Unix socket.

    server -> worker    render, cancel, save_and_stop, forget
    worker -> server    ready, refused, alive, progress, preview, saved, done, failed, stopped

Photos, states, previews and videos go as files in folders that the server names. Nothing is pickled. The end of the
socket is the end of the worker.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from fantasyid_engine.config.presets import PRESETS


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a server must know of its model to answer for it.

    Attributes:
        name: see `served_name`.
        trained: False where its weights come from a seed.
        frame_counts: numbers of frames that it makes, the default last.
        fps: frames a second.
        width: of a frame in pixels.
        height: likewise.
        num_inference_steps: its default.
        guidance_scale: its default.
        shape_names: by which shapes are changed; empty where they cannot be.
        one_face: the picture is the crop, so there is no other face to choose.
    """

    name: str
    trained: bool
    frame_counts: tuple[int, ...]
    fps: int
    width: int
    height: int
    num_inference_steps: int
    guidance_scale: float
    shape_names: tuple[str, ...]
    one_face: bool


def served_name(model: str) -> str:
    """What clients call a model that is opened by this preset or folder."""
    return model if model in PRESETS else Path(model).resolve().name


@dataclass(frozen=True, slots=True, kw_only=True)
class Render:
    """Render a job.

    Attributes:
        lease: names this attempt.
        job: id of the job, for logs.
        photo: the photo's file.
        settings: fields of `VideoRequest`, but for the photo.
        folder: an empty folder for what is made: `video.mp4`, `thumbnail.webp`, `spritesheet.jpg`, `preview.jpg`.
        state: file of the state to go on from, where it exists, and to write it to.
        save_every_steps: as in the settings.
        preview_every_s: as in the settings.
    """

    lease: str
    job: str
    photo: str
    settings: dict[str, Any]
    folder: str
    state: str
    save_every_steps: int
    preview_every_s: float | None
    type: Literal["render"] = "render"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Drop the render within one step; answered by `Stopped`, unless it was done already."""

    lease: str
    type: Literal["cancel"] = "cancel"


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveAndStop:
    """Save the render's state after this step and stop; answered by `Stopped`, unless it was done already."""

    lease: str
    type: Literal["save_and_stop"] = "save_and_stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Let go of all faces and prompts that are cached."""

    type: Literal["forget"] = "forget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The model is loaded and a self-test passed; jobs may come."""

    facts: Facts
    type: Literal["ready"] = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """This worker cannot work: weights, configuration, device. It leaves after this."""

    exit_code: int
    message: str
    type: Literal["refused"] = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """Said every second by a thread of its own."""

    type: Literal["alive"] = "alive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`step` of `steps` of a stage are done; see `fantasyid_engine.progress`."""

    lease: str
    stage: str
    step: int
    steps: int
    eta_s: float | None = None
    note: str | None = None
    type: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`preview.jpg` in the folder is new."""

    lease: str
    type: Literal["preview"] = "preview"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The state file is whole, with so many steps behind it."""

    lease: str
    steps_done: int
    type: Literal["saved"] = "saved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """All files are in the folder, whole and on disk.

    `result` has `seed`, `num_frames`, `fps`, `width`, `height`, `frames_sha256`, `durations_s` by stage, `render_s`,
    `notes` and `resumed_at_step`.
    """

    lease: str
    result: dict[str, Any]
    type: Literal["done"] = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The render failed and the worker is well: bad input, or out of memory after everything leaner was tried."""

    lease: str
    code: str
    message: str
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The render was dropped, as asked; `steps_done` of a state that was saved, else 0."""

    lease: str
    steps_done: int = 0
    type: Literal["stopped"] = "stopped"


ToWorker = Annotated[Render | Cancel | SaveAndStop | Forget, Field(discriminator="type")]
FromWorker = Annotated[
    Ready | Refused | Alive | Progress | Preview | Saved | Done | Failed | Stopped, Field(discriminator="type")
]
MAX_LINE_BYTES = 1 << 20

to_worker: TypeAdapter[ToWorker] = TypeAdapter(ToWorker)
from_worker: TypeAdapter[FromWorker] = TypeAdapter(FromWorker)


def line(message: Any) -> bytes:
    """A message as one line of JSON; raises pydantic's ValidationError for what is none."""
    return TypeAdapter(type(message)).dump_json(message) + b"\n"
