"""Waiting for room on a disk that is full: a video that was rendered is worth more than the seconds that it takes."""

import errno
import logging
import time
from collections.abc import Callable

from fantasyid_engine.errors import OutputError, one_line

FULL = (errno.ENOSPC, errno.EDQUOT)
MOST_S, LOOK_S, AGAIN_S = 600.0, 0.2, 2.0
log = logging.getLogger(__name__)


def when_there_is_room(write: Callable[[], None], check: Callable[[], None]) -> None:
    """Calls `write`, and again while the disk is full; `check` is called meanwhile and may raise.

    Raises:
        OutputError: of `write`, when the disk is full for longer than ten minutes, or at once for another reason.
    """
    until = time.monotonic() + MOST_S
    while True:
        try:
            write()
            return
        except OutputError as error:
            if getattr(error.__cause__, "errno", None) not in FULL or time.monotonic() > until:
                raise
            log.warning("%s; waiting for room", one_line(str(error)))
        again = time.monotonic() + AGAIN_S
        while time.monotonic() < again:
            check()
            time.sleep(LOOK_S)
