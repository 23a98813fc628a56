"""The worker's end of the socket; see `fantasyid_engine.server.messages`."""

import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from fantasyid_engine.server.messages import MAX_LINE_BYTES, ToWorker, line, to_worker


class NotUnderstood(Exception):
    """The server said what is no message."""


class Channel:
    """Sends from any thread; one thread receives."""

    def __init__(self, descriptor: int) -> None:
        """Takes over the socket of this descriptor."""
        self._socket = socket.socket(fileno=descriptor)
        self._turn = threading.Lock()

    def send(self, message: Any) -> None:
        """One message; without a server to hear it, the process ends here."""
        data = line(message)
        with self._turn:
            try:
                self._socket.sendall(data)
            except OSError:
                leave(0)

    def receive(self) -> Iterator[ToWorker]:
        """Messages until the server closes its end, or ends itself.

        Raises:
            NotUnderstood: a line that is no message, or longer than one may be.
        """
        with self._socket.makefile("rb") as stream:
            while data := self._read(stream):
                try:
                    yield to_worker.validate_json(data)
                except ValidationError:
                    raise NotUnderstood(f"a line of {len(data)} bytes is no message") from None

    @staticmethod
    def _read(stream: Any) -> bytes:
        try:
            return stream.readline(MAX_LINE_BYTES + 1)
        except OSError:  # the other end was torn off
            return b""


def leave(exit_code: int) -> None:
    """Ends the process at once; nothing of a render under way is worth waiting for."""
    os._exit(exit_code)
