"""Some frames of a video file that may be long, without decoding all of it.

Frame n is the one shown n / rate seconds after the first, the rate being the file's average; in a file of constant rate
that is the n-th. Frames far ahead are reached through the key frame before them. Colours as in `video.colours`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.video.colours import to_rgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Frames = NDArray[np.uint8]

SUFFIXES = (".mp4", ".mov")
"""What is read; FFmpeg has one reader for both."""
_FAR = 100
"""Frames ahead from which it is quicker to seek than to decode on; key frames are mostly 30 to 250 apart."""
_MISSING = 0.02
"""Share of its length by which a file may end early: lengths are rounded, and streams of sound go on longer."""


def sample_frames(path: Path, start: int, frames: int | None, count: int) -> Frames:
    """`count` frames, evenly spaced over a clip from its first to its last -> [count, H, W, 3] RGB.

    The clip is frames `start` to `start + frames - 1`, or all from `start` on; of a clip with fewer than `count` frames
    some come twice.

    Raises:
        InputError: `video_unreadable`, the file cannot be read or has no such frames.
    """
    with _open(path) as (container, stream):
        length = max(_count(container, stream) - start, 0) if frames is None else frames
        slack = 1 + int(_MISSING * length) if frames is None else 0
        found = []
        number, decoded, frame = -1, _numbered(container, stream, start), None
        for i in range(count):
            wanted = start + round(i * (length - 1) / max(count - 1, 1))
            if wanted - number > _FAR:
                decoded = _numbered(container, stream, wanted)
            while number < wanted and (following := next(decoded, None)):
                number, frame = following
            if frame is None or number < max(wanted - slack, start):
                raise _unreadable(path, f"it has no frame {wanted}")
            found.append(to_rgb(frame, most_bits=8))
        return _stack(path, found)


def read_clip_frames(path: Path, start: int, frames: int | None, size: tuple[int, int]) -> Frames:
    """All frames of a clip, their middle cut out in the proportions of `size` (H, W) and resized -> [F, H, W, 3] RGB.

    Resized by Lanczos' filter, which is widened where the picture shrinks, so that nothing aliases.

    Raises:
        InputError: `video_unreadable`, the file cannot be read or has fewer frames.
    """
    with _open(path) as (container, stream):
        found = []
        for number, frame in _numbered(container, stream, start):
            if number >= start:
                found.append(_fitted(to_rgb(frame, most_bits=8), size))
            if len(found) == frames:
                break
        if not found or (frames is not None and len(found) < frames):
            raise _unreadable(path, f"from frame {start} on it has {len(found)} of {frames or 'any number of'} frames")
        return np.stack(found)


def _count(container: "InputContainer", stream: "VideoStream") -> int:
    """By duration, as cutting without encoding leaves frames that are counted but not shown."""
    assert stream.average_rate and stream.time_base
    seconds = stream.duration * stream.time_base if stream.duration else Fraction(container.duration or 0, 1_000_000)
    return round(seconds * stream.average_rate)


def _fitted(picture: Frames, size: tuple[int, int]) -> Frames:
    (height, width), (rows, columns) = picture.shape[:2], size
    scale = min(height / rows, width / columns)
    across, down = min(columns * scale, width), min(rows * scale, height)
    left, top = (width - across) / 2, (height - down) / 2
    box = left, top, left + across, top + down
    return np.asarray(Image.fromarray(picture).resize((columns, rows), Image.Resampling.LANCZOS, box=box))


def _stack(path: Path, pictures: list[Frames]) -> Frames:
    if len({picture.shape for picture in pictures}) > 1:
        raise _unreadable(path, "its pictures differ in size")
    return np.stack(pictures)


def _numbered(container: "InputContainer", stream: "VideoStream", target: int) -> Iterator[tuple[int, "VideoFrame"]]:
    """Frames in order, with their numbers, from the last key frame on that is not after `target`."""
    assert stream.average_rate and stream.time_base
    step = 1 / (stream.average_rate * stream.time_base)
    first = stream.start_time or 0
    container.seek(first + int(target * step), stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None:
            yield round((frame.pts - first) / step), frame


@contextmanager
def _open(path: Path) -> Iterator[tuple["InputContainer", "VideoStream"]]:
    import av
    from av.error import FFmpegError

    if path.suffix.lower() not in SUFFIXES:
        raise _unreadable(path, f"it is none of {', '.join(SUFFIXES)}")
    try:
        # The format is given so that no playlist is followed, and the path is absolute so that no protocol is.
        with av.open(str(path.absolute()), "r", format="mov", metadata_errors="replace") as container:
            if not container.streams.video:
                raise _unreadable(path, "it has no pictures")
            stream = container.streams.video[0]
            if not stream.average_rate or not stream.time_base:
                raise _unreadable(path, "it has no frame rate")
            yield container, stream
    except (FFmpegError, OSError) as error:
        raise _unreadable(path, str(error.strerror)) from error


def _unreadable(path: Path, why: str) -> InputError:
    message = f"{path} cannot be read: {why}; give it as a whole .mp4 or .mov file, or leave its clips out"
    return InputError("video_unreadable", one_line(message))
