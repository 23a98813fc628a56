"""What a run says of itself: lines on screen, `log.jsonl`, and TensorBoard.

Only the main process speaks.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.training.avatar.perception.fit import Say


class RunLog:
    """Curves and lines of one run. Use it as a context manager."""

    def __init__(self, folder: Path, say: Say, *, main: bool) -> None:
        self._folder, self._say, self._main = folder, say, main
        self._writer: Any = None

    def __enter__(self) -> "RunLog":
        if self._main:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._folder / "tensorboard"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def say(self, line: str) -> None:
        """A line on screen."""
        if self._main:
            self._say(line)

    def record(self, stage: str, step: int, kind: str, values: Mapping[str, float | None]) -> None:
        """Numbers of one step: a line of `log.jsonl`, and a point of each curve."""
        if not self._main:
            return
        with (self._folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"stage": stage, "step": step, "kind": kind, **values}) + "\n")
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(f"{stage}/{kind}/{name}", value, step)

    def video(self, stage: str, step: int, name: str, frames: NDArray[np.uint8], fps: int) -> None:
        """A clip [F, H, W, 3] among TensorBoard's images, where it moves."""
        if not self._main:
            return
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        pictures, file = [Image.fromarray(frame) for frame in frames], io.BytesIO()
        pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=1000 // fps, loop=0)
        height, width = frames.shape[1:3]
        image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=file.getvalue())
        summary = Summary(value=[Summary.Value(tag=f"{stage}/{name}", image=image)])
        self._writer.file_writer.add_summary(summary, step)
