"""One job: from the photo's file and settings to a folder of finished files, and how it ended in one message."""

import gc
import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fantasyid_engine.atomic import fsync
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import (
    Cancelled,
    ConfigError,
    DeviceError,
    InputError,
    OutputError,
    ResourceError,
    one_line,
)
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.result import VideoResult
from fantasyid_engine.runtime.device import is_out_of_memory
from fantasyid_engine.sampling.state import RenderState
from fantasyid_engine.server.messages import Done, Failed, Render, Stopped
from fantasyid_engine.server.worker.channel import Channel
from fantasyid_engine.server.worker.orders import Orders
from fantasyid_engine.server.worker.pictures import save_spritesheet, save_thumbnail
from fantasyid_engine.server.worker.report import Reporter
from fantasyid_engine.server.worker.room import when_there_is_room
from fantasyid_engine.server.worker.self_test import check_device
from fantasyid_engine.video.certificates import Signer

log = logging.getLogger(__name__)


class Renderer:
    """Renders jobs with one engine."""

    def __init__(self, engine: Engine, signer: Signer, channel: Channel, orders: Orders) -> None:
        self._engine, self._signer, self._channel, self._orders = engine, signer, channel, orders

    def __call__(self, order: Render) -> Done | Failed | Stopped:
        """Renders a job; whatever becomes of it is in the answer.

        Raises:
            DeviceError: the device does not compute any more: it is not the job's fault, and this worker must leave.
        """
        reporter = Reporter(order, self._channel, self._orders)
        try:
            return self._render(order, reporter)
        except Cancelled:
            return Stopped(lease=order.lease, steps_done=reporter.steps_saved)
        except InputError as error:
            return Failed(lease=order.lease, code=error.code, message=one_line(str(error)))
        except DeviceError:
            raise
        except OutputError as error:
            log.error("%s: %s", order.job, one_line(str(error)))
            failed = Failed(lease=order.lease, code="storage_failed", message="the server could not write the video")
        except Exception as error:
            short = _is_short(error)
            log.error("%s: %s", order.job, one_line(str(error)), exc_info=None if short else error)
            failed = _out_of_memory(order) if short else _internal_error(order)
        self._recover()  # outside the handler, whose traceback would keep tensors alive
        return failed

    @property
    def _device(self) -> torch.device:
        return self._engine.model.vae.device

    def _render(self, order: Render, reporter: Reporter) -> Done:
        """From the state that there is, where it fits; once more, without it, where memory does not do."""
        began, notes = time.monotonic(), []
        request = VideoRequest(image=_photo(order), **order.settings)
        state = _state(order, notes)
        reporter.steps_saved = 0 if state is None else state.steps_done
        try:
            result = self._engine.generate(request, on_progress=reporter, resume=state)
            return self._finish(order, reporter, result, state, began, notes)
        except (ResourceError, MemoryError, RuntimeError) as error:
            if not _is_short(error):
                raise
            log.warning("%s: %s; once more, with nothing else in memory", order.job, one_line(str(error)))
            notes.append("out of memory at first; rendered once more, with nothing else in memory")
        except ConfigError as error:
            if state is None or reporter.began:
                raise
            log.warning("%s: %s; it begins anew", order.job, one_line(str(error)))
            notes.append("what was saved of this render does not fit this server any more; it was begun anew")
        Path(order.state).unlink(missing_ok=True)
        reporter.steps_saved = 0
        self._free()
        result = self._engine.generate(request, on_progress=reporter)
        return self._finish(order, reporter, result, None, began, notes)

    def _finish(
        self,
        order: Render,
        reporter: Reporter,
        result: VideoResult,
        state: RenderState | None,
        began: float,
        notes: list[str],
    ) -> Done:
        """Writes all files, and sees that they are on disk."""
        folder, writing = Path(order.folder), time.monotonic()
        reporter.check()
        result = replace(result, record=_without_folder(result.record), notes=(*notes, *result.notes))

        def write() -> None:
            result.save(folder / "video.mp4", signer=self._signer)
            save_thumbnail(result.frames, folder / "thumbnail.webp")
            save_spritesheet(result.frames, folder / "spritesheet.jpg")
            fsync(folder)  # its files are on disk already

        when_there_is_room(write, reporter.check)
        reporter.check()
        now, (count, height, width, _) = time.monotonic(), result.frames.shape
        made: dict[str, Any] = {
            "seed": result.seed,
            "num_frames": count,
            "fps": result.fps,
            "width": width,
            "height": height,
            "frames_sha256": result.frames_sha256,
            "durations_s": {**result.record["durations_s"], "write": round(now - writing, 3)},
            "render_s": round(now - began, 3),
            "notes": list(result.notes),
            "resumed_at_step": 0 if state is None else state.steps_done,
        }
        return Done(lease=order.lease, result=made)

    def _recover(self) -> None:
        """After an error that nobody foresaw; raises DeviceError where the device does not get over it."""
        try:
            self._free()
        except RuntimeError as error:
            raise DeviceError(f"{self._device} is broken: {error}") from None
        check_device(self._device)

    def _free(self) -> None:
        """Lets go of everything but the model."""
        self._engine.forget()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _photo(order: Render) -> bytes:
    """As bytes, so that no path of this machine is in what the video says of itself, nor in errors."""
    try:
        return Path(order.photo).read_bytes()
    except OSError as error:
        log.error("%s: its photo cannot be read: %s", order.job, error)
        raise InputError("image_missing", "the photo of this job is gone; send it again") from None


def _state(order: Render, notes: list[str]) -> RenderState | None:
    """Where the render stopped before; None where there is nothing to go on from."""
    path = Path(order.state)
    if not path.exists():
        return None
    try:
        return RenderState.load(path)
    except InputError as error:
        log.warning("%s: %s; it begins anew", order.job, one_line(str(error)))
        notes.append("what was saved of this render cannot be read any more; it was begun anew")
        path.unlink(missing_ok=True)
        return None


def _without_folder(record: dict[str, Any]) -> dict[str, Any]:
    """A record that names its model by its folder's name alone: where that is, is nobody's business."""
    model = record["model"]
    return record | {"model": model | {"name": Path(model["name"]).name}}


def _is_short(error: BaseException) -> bool:
    """Of memory: what the engine says after all that is leaner, or an allocator outside of its stages."""
    return isinstance(error, ResourceError) or is_out_of_memory(error)


def _out_of_memory(order: Render) -> Failed:
    return Failed(
        lease=order.lease,
        code="out_of_memory",
        message="there is not enough memory here for this video; ask for fewer frames, or try again later",
    )


def _internal_error(order: Render) -> Failed:
    return Failed(
        lease=order.lease, code="internal_error", message="the engine failed; the operator's log has the details"
    )
