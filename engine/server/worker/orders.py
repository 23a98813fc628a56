"""What the server wants of this worker: work that waits in line, and what is to become of the render under way."""

import threading
from queue import SimpleQueue
from typing import Literal

from fantasyid_engine.server.messages import Cancel, Forget, Render, SaveAndStop, ToWorker

Stop = Literal["cancel", "save"]


class Orders:
    """Filled by the thread that listens, followed by the one that renders."""

    def __init__(self) -> None:
        self._line: SimpleQueue[Render | Forget] = SimpleQueue()
        self._asked: dict[str, Stop | None] = {}
        self._turn = threading.Lock()

    def take(self, message: ToWorker) -> None:
        """A message came; what is said of a render that is over, or was never ordered, means nothing."""
        match message:
            case Render(lease=lease):
                with self._turn:
                    self._asked[lease] = None
                self._line.put(message)
            case Forget():
                self._line.put(message)
            case Cancel(lease=lease):
                self._ask(lease, "cancel")
            case SaveAndStop(lease=lease):
                self._ask(lease, "save")

    def next(self) -> Render | Forget:
        """The next in line; waits for one."""
        return self._line.get()

    def asked_of(self, lease: str) -> Stop | None:
        """How a render is to stop; None where it may go on."""
        with self._turn:
            return self._asked.get(lease)

    def over(self, lease: str) -> None:
        """A render has ended."""
        with self._turn:
            self._asked.pop(lease, None)

    def _ask(self, lease: str, stop: Stop) -> None:
        with self._turn:
            if lease in self._asked and self._asked[lease] != "cancel":
                self._asked[lease] = stop
