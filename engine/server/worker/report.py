"""What a render says as it goes on: progress to the server, states and previews to files; and how it is stopped."""

import logging
import time
from pathlib import Path

from fantasyid_engine.errors import Cancelled, OutputError, one_line
from fantasyid_engine.progress import Progress
from fantasyid_engine.runtime.device import is_out_of_memory
from fantasyid_engine.server import messages
from fantasyid_engine.server.worker.channel import Channel
from fantasyid_engine.server.worker.orders import Orders
from fantasyid_engine.server.worker.pictures import save_preview

log = logging.getLogger(__name__)

LEAST_S = 0.1
"""Between two messages of progress; the first and the last of a stage are always sent."""


class Reporter:
    """`on_progress` of one render."""

    def __init__(self, order: messages.Render, channel: Channel, orders: Orders) -> None:
        self._order, self._channel, self._orders = order, channel, orders
        self._said = self._shown = float("-inf")
        self._previews = order.preview_every_s is not None
        self.began = False
        self.steps_saved = 0

    def __call__(self, progress: Progress) -> None:
        """Reports, keeps and shows what is due; raises Cancelled where the render is to stop."""
        self.began = True
        stop = self._orders.asked_of(self._order.lease)
        if stop == "cancel":
            raise Cancelled("the server dropped this render")
        self._tell(progress)
        if progress.state is not None:
            due = progress.step % self._order.save_every_steps == 0 or progress.step == progress.steps
            if due or stop == "save":
                self._save(progress)
            if stop is None:
                self._preview(progress)
        if stop == "save":
            raise Cancelled("the server stopped this render")

    def check(self) -> None:
        """Raises Cancelled where the render is to stop, between stages that report nothing."""
        if self._orders.asked_of(self._order.lease) is not None:
            raise Cancelled("the server stopped this render")

    def _tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.note is None and 0 < progress.step < progress.steps and now - self._said < LEAST_S:
            return
        self._said = now
        said = messages.Progress(
            lease=self._order.lease,
            stage=progress.stage,
            step=progress.step,
            steps=progress.steps,
            eta_s=progress.eta_s,
            note=progress.note,
        )
        self._channel.send(said)

    def _save(self, progress: Progress) -> None:
        """A state that cannot be written, as on a full disk, costs the way back, not the render."""
        assert progress.state is not None
        try:
            progress.state().save(Path(self._order.state))
        except OutputError as error:
            log.warning("no state is kept at step %d: %s", progress.step, one_line(str(error)))
            return
        self.steps_saved = progress.step
        self._channel.send(messages.Saved(lease=self._order.lease, steps_done=progress.step))

    def _preview(self, progress: Progress) -> None:
        every_s, now = self._order.preview_every_s, time.monotonic()
        if every_s is None or progress.preview is None or not self._previews or now - self._shown < every_s:
            return
        try:
            save_preview(progress.preview(), Path(self._order.folder) / "preview.jpg")
        except (OutputError, MemoryError, RuntimeError) as error:
            if not isinstance(error, OutputError) and not is_out_of_memory(error):
                raise
            log.warning("no more previews of this render: %s", one_line(str(error)))
            self._previews = False
            return
        self._shown = time.monotonic()
        self._channel.send(messages.Preview(lease=self._order.lease))
