"""What a builder is, and what builders share: files by name, annotations, and keys of clips.

A folder that is not the data set is refused at once. An entry that is missing or damaged is skipped, with a reason, and
stops nothing. Names in annotations are looked up among the files there are, never joined to a path.
"""

import json
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.training.data.frames import SUFFIXES
from fantasyid_engine.training.data.manifest import Clip

Skip = Callable[[str, str], None]
"""Takes an entry that is left out, by its name in the data set, and the reason."""

MAX_ANNOTATIONS = 512 << 20
"""Bytes of a JSON file; the largest of these data sets has 29 million."""


class Builder(Protocol):
    """Reads one data set."""

    def __call__(self, folder: Path, skip: Skip) -> Iterator[Clip]:
        """Clips of the data set in `folder`, as the videos there are; what is not used goes to `skip`.

        Raises:
            InputError: `dataset_invalid`, the folder is not this data set.
        """
        ...


def not_the_data_set(folder: Path, name: str, why: str) -> InputError:
    """The error for a folder that a builder cannot use."""
    return InputError("dataset_invalid", one_line(f"{folder} is not {name} as it is downloaded: {why}"))


def files_by_name(folder: Path, suffixes: Collection[str], *, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Files of `folder` and below -> {name: path within the folder, with slashes}; empty files do not count.

    Of files with one name, the first by path. Folders named in `leave_out` are not entered.
    """
    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in leave_out)
        inside = Path(place).relative_to(folder)
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and _holds_bytes(Path(place) / name):
                found.setdefault(name, (inside / name).as_posix())
    return found


def _holds_bytes(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def videos_by_name(folder: Path, name: str, *, leave_out: Collection[str] = ()) -> dict[str, str]:
    """`files_by_name` of videos.

    Raises:
        InputError: `dataset_invalid`, there are none.
    """
    found = files_by_name(folder, SUFFIXES, leave_out=leave_out)
    if not found:
        raise not_the_data_set(folder, name, f"it holds no videos ({', '.join(SUFFIXES)}); unpack them there")
    return found


def read_annotations(path: Path, folder: Path, name: str) -> Any:
    """A JSON file of the data set `name` in `folder`.

    Raises:
        InputError: `dataset_invalid`, it cannot be read or is no JSON.
    """
    try:
        return read_json(path)
    except ValueError as error:
        raise not_the_data_set(folder, name, f"{path.name} {error}") from None


def read_json(path: Path) -> Any:
    """A JSON file of any kind.

    Raises:
        ValueError: it cannot be read or is no JSON.
    """
    try:
        if path.stat().st_size > MAX_ANNOTATIONS:
            raise ValueError(f"has more than {MAX_ANNOTATIONS >> 20} MiB")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror or error}") from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"is no JSON: {error}") from None


def safe_key(source: str, name: str) -> str:
    """A clip's key from its name in the data set: the same name as far as file systems allow, else with a checksum."""
    clean = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:150]
    return f"{source}-{clean}" if clean == name else f"{source}-{clean}-{zlib.crc32(name.encode()):08x}"


def whole_video(
    source: str, name: str, video: str, prompt: str, *, box: tuple[float, float, float, float] | None = None
) -> Clip:
    """All of a video of a data set that does not say who is who.

    Raises:
        ValueError: a value does not fit a manifest.
    """
    key = safe_key(source, name)
    return Clip(key=key, video=video, start=0, frames=None, prompt=prompt, person=key, source=source, box=box)


def text_of(entry: Mapping[str, Any], field: str) -> str:
    """A text that may not be missing or empty.

    Raises:
        ValueError: it is.
    """
    value = entry.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"it has no {field}")
    return " ".join(value.split())
