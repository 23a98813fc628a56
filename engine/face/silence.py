"""What readers of photos say beside their errors does not reach the user: the error that is raised says what matters.

Silenced are Pillow's warnings about oddities of files and about sizes (which are judged from the header before), what
it logs while nobody listens, and the lines that libtiff writes to standard error.

This is for the whole process: filters of warnings and libtiff's handler exist only once in it. Putting them back after
each photo, as `warnings.catch_warnings` does, would undo what another thread needs; what stays is safe with threads.
It hides little: errors are still raised, a program that listens to the log "PIL" still hears it, and other libraries'
warnings and copies of libtiff are left alone. A program's own use of Pillow is silenced with it.
"""

import ctypes
import logging
import warnings
from contextlib import suppress
from functools import cache

from PIL import Image


def silence_readers() -> None:
    """For each photo anew, as filters may have been reset since the last; repeated, it changes nothing."""
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    log = logging.getLogger("PIL")
    if not log.handlers:  # without any, errors that are logged are printed
        log.addHandler(logging.NullHandler())
    _silence_libtiff()


@cache
def _silence_libtiff() -> None:
    """It writes past Python; Pillow, which brings it, has no switch for that."""
    with suppress(OSError, AttributeError):  # a Pillow that has it built in
        set_handler = ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler
        set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], None
        set_handler(None)
