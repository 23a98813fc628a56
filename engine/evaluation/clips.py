"""Which videos are measured, in which rows, and what is known of each."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.video.formats import CONTAINERS
from fantasyid_engine.video.sidecar import FORMAT, sidecar_path

CLIP_FORMAT = "fantasyid-clip-1"
PLACES = {
    FORMAT: (("request", "prompt"), ("inputs", "image_sha256"), ("output", "fps")),
    CLIP_FORMAT: (("prompt",), ("image_sha256",), ("fps",)),
}
"""Where each kind of sidecar has prompt, digest of the photo, and frames a second."""
LOOSE = "videos"
"""The row of videos that were named one by one."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One video, and what its sidecar tells; a video without one, or with another program's, has None for it."""

    path: Path
    prompt: str | None
    image_sha256: str | None
    fps: int | None


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table."""

    name: str
    clips: tuple[Clip, ...]


def find_methods(paths: Sequence[Path]) -> tuple[Method, ...]:
    """Videos, folders of PNG pictures, and folders of either -> rows.

    Each folder of videos is a row with the folder's name; videos named one by one are one row together.

    Raises:
        InputError: `video_missing`, nothing is there or a folder holds no video; `video_unsupported`, a file of another
            kind; `video_twice`, one was named more than once.
    """
    rows: list[tuple[Path | None, list[Path]]] = []
    loose: list[Path] = []
    for path in paths:
        inside = [] if is_video(path) else _videos_in(path)
        if inside:
            rows.append((path, inside))
        else:
            if not loose:
                rows.append((None, loose))
            loose.append(path)
    _check_once([video for _, videos in rows for video in videos])
    names = row_names([folder for folder, _ in rows])
    return tuple(
        Method(name, tuple(read_clip(video) for video in videos)) for name, (_, videos) in zip(names, rows, strict=True)
    )


def is_video(path: Path) -> bool:
    """Whether this is a .mp4 or .mov file, or a folder of PNG pictures and of no videos.

    Raises:
        InputError: see `find_methods`.
    """
    if not path.exists():
        raise InputError("video_missing", f"{path} does not exist; name a .mp4 or .mov file or a folder")
    if path.is_dir():
        return not _videos_in(path) and _has_pictures(path)
    if path.suffix.lower() not in CONTAINERS:
        raise InputError(
            "video_unsupported", f"{path} is no video; name a .mp4 or .mov file, or a folder of PNG pictures or videos"
        )
    return True


def _videos_in(folder: Path) -> list[Path]:
    inside = [path for path in _listed(folder) if _is_container(path) or (path.is_dir() and _has_pictures(path))]
    if not inside and not _has_pictures(folder):
        raise InputError("video_missing", f"{folder} holds no video; name a folder of .mp4 or .mov files")
    return inside


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise InputError("video_missing", f"{folder} cannot be read: {error.strerror}; name another folder") from None


def _is_container(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in CONTAINERS


def _has_pictures(folder: Path) -> bool:
    return any(path.suffix == ".png" and path.is_file() for path in _listed(folder))


def _check_once(videos: Iterable[Path]) -> None:
    seen: set[Path] = set()
    for video in videos:
        place = video.resolve()
        if place in seen:
            raise InputError("video_twice", f"{video} was named more than once; name each video once")
        seen.add(place)


def row_names(folders: Sequence[Path | None]) -> list[str]:
    """A name a row: that of the folder, or, where two are alike, as much of the path as tells them apart."""
    parts = [LOOSE if folder is None else folder.resolve().name or str(folder) for folder in folders]
    names = [
        name if parts.count(name) == 1 or folder is None else str(folder)
        for name, folder in zip(parts, folders, strict=True)
    ]
    taken: list[str] = []
    for name in names:
        number, free = 2, name
        while free in taken:
            number, free = number + 1, f"{name} {number}"
        taken.append(free)
    return [one_line(name) for name in taken]


def read_clip(path: Path) -> Clip:
    """A video and what its sidecar tells; one that cannot be read, or is another program's, tells nothing.

    A sidecar is the record of a render, or, for videos that were not rendered here, an object with `"format":
    "fantasyid-clip-1"` and what is known of `prompt`, `image_sha256` and `fps`.
    """
    try:
        record = read_json_object(sidecar_path(path), _NoSidecar)
    except _NoSidecar:
        record = {}
    places = PLACES.get(str(record.get("format")), ())
    prompt, digest, fps = (_inside(record, *place) for place in places) if places else (None, None, None)
    return Clip(
        path,
        prompt if isinstance(prompt, str) and prompt.strip() else None,
        digest if isinstance(digest, str) else None,
        fps if isinstance(fps, int) and 1 <= fps <= 1000 else None,
    )


def _inside(record: Any, *place: str) -> Any:
    """What a record has at a path of names; None where it has no such path."""
    for name in place:
        record = record.get(name) if isinstance(record, dict) else None
    return record


class _NoSidecar(InputError):
    def __init__(self, message: str) -> None:
        super().__init__("sidecar_unreadable", message)
