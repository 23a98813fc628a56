"""Frames to a file or a folder that is whole when it is seen.

Frames are [F, H, W, 3] RGB, uint8 or uint16, full range, primaries of sRGB (= BT.709).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.atomic import atomic_file, atomic_folder, check_new_file, try_to_create
from fantasyid_engine.errors import InputError, OutputError, WriteError
from fantasyid_engine.video.encode import encode_container, encode_pictures
from fantasyid_engine.video.formats import CONTAINERS, PICTURES, suffix_of
from fantasyid_engine.video.provenance import Seal


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """Refuses, before any work, an output that could not be written later. Leaves nothing behind.

    `overwrite` allows an existing file; a folder of pictures must be new or empty, for folders are never deleted.

    Raises:
        OutputError: unknown suffix; something is there already; the place is no folder or not writable.
    """
    if suffix_of(path) != PICTURES:
        check_new_file(path, overwrite=overwrite)
        return
    try:
        if path.is_dir() and any(path.iterdir()):
            raise OutputError(f"cannot write {path}: the folder is not empty; name a new one")
        if path.exists() and not path.is_dir():
            raise OutputError(f"cannot write {path}: it is a file; name a new folder, or a .mp4 or .mov file")
        try_to_create(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}; name another place") from error


def write_video(
    frames: NDArray[Any],
    path: Path,
    fps: int,
    *,
    metadata: Mapping[str, str] | None = None,
    seal: Seal | None = None,
) -> None:
    """Writes a video in the format that the suffix of `path` names (see `formats`); replaces a file, never a folder.

    The same frames give the same bytes, but for what `seal` adds, which has the time in it and, by most algorithms, a
    random number. 16 bits are rounded to 8 for .mp4.

    Args:
        frames: uint8 or uint16 [F, H, W, 3] RGB.
        path: .mp4, .mov, or without a suffix a new or empty folder, of `frame_0000.png` and so on.
        fps: frames a second; a folder of pictures does not keep it.
        metadata: text by key (`title`, `comment`, ...), stored in the container; a folder of pictures has none.
        seal: signs the file, or each picture; None leaves them unsigned.

    Raises:
        ValueError: frames, fps or metadata are not as said here.
        InputError: the size cannot be written in this format (`size_unsupported`).
        OutputError: the file or folder cannot be created.
        WriteError: it cannot be written to its end; nothing of it is left.
    """
    from av.error import FFmpegError

    metadata = metadata or {}
    _check_arguments(frames, fps, metadata)
    suffix = suffix_of(path)
    try:
        if suffix == PICTURES:
            with atomic_folder(path) as temporary:
                for index, picture in enumerate(encode_pictures(frames)):
                    name = f"frame_{index:04d}.png"
                    sealed = picture if seal is None else seal(picture, path / name, index)
                    (temporary / name).write_bytes(sealed)
        else:
            _check_size(frames, path, suffix)
            encoded = encode_container(frames, CONTAINERS[suffix], fps, metadata)
            sealed = encoded if seal is None else seal(encoded, path)
            with atomic_file(path) as temporary:
                temporary.write_bytes(sealed)
    except FFmpegError as error:
        raise WriteError(f"cannot write {path}: it cannot be encoded: {error.strerror}") from error


def _check_arguments(frames: NDArray[Any], fps: int, metadata: Mapping[str, str]) -> None:
    if frames.dtype not in (np.uint8, np.uint16) or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(f"frames must be uint8 or uint16 [F, H, W, 3], not empty, not {frames.dtype} {frames.shape}")
    if fps < 1:
        raise ValueError(f"fps must be at least 1, not {fps}")
    if any("\0" in text for row in metadata.items() for text in row):
        raise ValueError("metadata must have no NUL character: containers would cut it there")


def _check_size(frames: NDArray[Any], path: Path, suffix: str) -> None:
    _, height, width, _ = frames.shape
    if CONTAINERS[suffix].even_size and (height % 2 or width % 2):
        raise InputError(
            "size_unsupported",
            f"cannot write {path}: {suffix} needs an even width and height, not {width} x {height};"
            " name a .mov, or a folder for PNG pictures",
        )
