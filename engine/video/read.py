"""A video that `write` wrote, or one like it, back to frames, with what the file says of them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import InputError
from fantasyid_engine.video.colours import Colours, colours_of, to_rgb

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Video:
    """Decoded frames and their tags.

    frames    [F, H, W, 3] RGB: uint8, or uint16 of PNG pictures with more than 8 bits
    fps       frames a second; None for a folder of pictures, which does not keep it
    metadata  of the container, with what FFmpeg adds to it (`encoder`, `major_brand`, ...)
    """

    frames: NDArray[Any]
    fps: Fraction | None
    codec: str
    pixel_format: str
    colours: Colours
    metadata: Mapping[str, str]


def read_video(path: Path) -> Video:
    """Reads a .mp4 or .mov file or a folder of PNG pictures.

    Raises:
        InputError: it is no such thing, or not whole (`video_unreadable`).
    """
    with _reading(path):
        return _read_pictures(path) if path.is_dir() else _read_container(path)


def _read_container(path: Path) -> Video:
    with _open(path, "mov") as container:
        if not container.streams.video:
            raise _unreadable(path, "it has no pictures")
        stream = container.streams.video[0]
        decoded = list(container.decode(stream))
        if not decoded or len(decoded) < stream.frames:
            raise _unreadable(path, f"it has {len(decoded)} of {stream.frames} frames")
        return Video(
            frames=_stack(path, decoded, most_bits=8),
            fps=stream.average_rate,
            codec=stream.codec_context.name,
            pixel_format=decoded[0].format.name,
            colours=colours_of(decoded[0]),
            metadata=dict(container.metadata),
        )


def _read_pictures(folder: Path) -> Video:
    files = sorted(folder.glob("*.png"), key=lambda file: (len(file.name), file.name))  # frame_9999, frame_10000
    if not files:
        raise _unreadable(folder, "it has no PNG pictures")
    decoded = [_read_picture(file) for file in files]
    return Video(
        frames=_stack(folder, decoded, most_bits=16),
        fps=None,
        codec="png",
        pixel_format=decoded[0].format.name,
        colours=colours_of(decoded[0]),
        metadata={},
    )


def _read_picture(file: Path) -> "VideoFrame":
    with _reading(file), _open(file, "png_pipe") as container:
        for picture in container.decode(video=0):
            return picture
    raise _unreadable(file, "it is empty")


def _stack(path: Path, decoded: Sequence["VideoFrame"], most_bits: int) -> NDArray[Any]:
    frames = [to_rgb(frame, most_bits) for frame in decoded]
    if len({(frame.shape, frame.dtype) for frame in frames}) > 1:
        raise _unreadable(path, "its pictures differ in size or depth")
    return np.stack(frames)


def _open(path: Path, format: str) -> "InputContainer":
    import av

    # The format is given so that no playlist is followed, and the path is absolute so that no protocol is.
    return av.open(str(path.absolute()), "r", format=format, metadata_errors="replace")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    from av.error import FFmpegError

    try:
        yield
    except (FFmpegError, OSError) as error:
        raise _unreadable(path, str(error.strerror)) from error


def _unreadable(path: Path, why: str) -> InputError:
    return InputError(
        "video_unreadable", f"{path} cannot be read: {why}; name a whole .mp4 or .mov file or a folder of PNG pictures"
    )
