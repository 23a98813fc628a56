"""The list of clips to train on: one JSON object a line, in `manifest.jsonl` in the folder that the videos are in.

    {"key": "openvid-a1B2_0to241", "video": "video/a1B2_0to241.mp4", "start": 0, "frames": null, "prompt": "...", ...}

Lines are read strictly: no field may be missing or unknown, and none is converted.
"""

import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pydantic import TypeAdapter, ValidationError

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.check import config, holds, positive
from fantasyid_engine.errors import InputError, one_line

MANIFEST = "manifest.jsonl"
MAX_FRAMES = 10_000_000
"""Of one video: 92 hours at 30 frames a second."""
MAX_PROMPT = 20_000
"""Letters; the longest caption of the public data sets has a seventh of them."""
_MAX_LINE = 256 << 10
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}")


@config
class Clip:
    """Frames `start` to `start + frames - 1` of a video, with what they show.

    key      names the clip's files in caches and shards (in shards a dot would end the name)
    video    of the folder that holds the manifest, with slashes
    start    number of the first frame, from 0
    frames   how many, None for all that follow
    prompt   what text-to-video is asked for; may be empty
    person   who it is, where the data set knows; else the key, so that every clip is somebody of its own
    source   name of the data set
    box      left, top, width and height of the face in pixels, in the first frame where the data set has it

    Raises:
        ValueError: a value that does not fit, by field, value and what is allowed.
    """

    key: str
    video: str
    start: int
    frames: int | None
    prompt: str
    person: str
    source: str
    box: tuple[float, float, float, float] | None

    def __post_init__(self) -> None:
        holds(
            self,
            "key",
            _KEY.fullmatch(self.key) is not None,
            "1 to 200 letters, digits, _ and -, the first a letter or digit",
        )
        holds(
            self,
            "video",
            is_inside(self.video),
            "a path with slashes within the manifest's folder, neither absolute nor with ..",
        )
        holds(self, "start", type(self.start) is int and 0 <= self.start <= MAX_FRAMES, f"from 0 to {MAX_FRAMES}")
        if self.frames is not None:
            positive(self, "frames", most=MAX_FRAMES)
        if len(self.prompt) > MAX_PROMPT:  # not by `holds`, which would repeat it
            raise ValueError(f"Clip.prompt has {len(self.prompt)} letters; it must have at most {MAX_PROMPT}")
        if not _is_whole(self.prompt):
            raise ValueError("Clip.prompt has half a character; it must be text that UTF-8 can hold")
        for name in ("person", "source"):
            text = getattr(self, name)
            holds(self, name, 0 < len(text) <= 200 and _is_whole(text), "1 to 200 letters")
        if self.box is not None:
            left, top, width, height = self.box
            finite = all(math.isfinite(value) for value in (left, top, width, height))
            holds(self, "box", finite and width > 0 and height > 0, "left, top, width and height, finite, sizes over 0")


def _is_whole(text: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def is_inside(path: str) -> bool:
    """Whether a path with slashes is relative and stays in its folder, whatever the system takes for a separator."""
    parts = path.split("/")
    clean = path.isprintable() and not any(character in path for character in "\\:")
    return clean and len(path) <= 1000 and not {"", ".", ".."} & set(parts)


def video_path(root: Path, clip: Clip) -> Path:
    """Where a clip's video is, the manifest being in `root`."""
    return root / PurePosixPath(clip.video)


def write_manifest(path: Path, clips: Iterable[Clip]) -> int:
    """Writes `clips` to a file that is whole or not there, and returns how many there were.

    Raises:
        InputError: `manifest_invalid`, two clips have one key.
        OutputError: the file cannot be created.
        WriteError: it cannot be written to its end.
    """
    numbers: dict[str, int] = {}
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        for number, clip in enumerate(clips, 1):
            _once(numbers, clip.key, number, path)
            file.write(_CLIPS.dump_json(clip) + b"\n")
    return len(numbers)


def read_manifest(path: Path) -> list[Clip]:
    """All clips of a manifest, in its order.

    Raises:
        InputError: `manifest_invalid`, in one line with file, line number, field and what is allowed.
    """
    numbers: dict[str, int] = {}
    clips = []
    for number, line in _lines(path):
        clip = _clip(line, f"{path} line {number}")
        _once(numbers, clip.key, number, path)
        clips.append(clip)
    return clips


_CLIPS = TypeAdapter(Clip)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(_MAX_LINE + 1):
                number += 1
                if len(line) > _MAX_LINE:
                    raise _invalid(f"{path} line {number}: it has more than {_MAX_LINE >> 10} KiB")
                yield number, line
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror or error}; name a {MANIFEST}") from None


def _clip(line: bytes, place: str) -> Clip:
    try:
        return _CLIPS.validate_json(line, strict=True)
    except ValidationError as error:
        raise _invalid(f"{place}: {_words(error)}") from None


def _words(error: ValidationError) -> str:
    first = error.errors()[0]
    if first["type"] in ("json_invalid", "dataclass_type"):
        return "it is no JSON object"
    field = ".".join(str(part) for part in first["loc"])
    words = first["msg"].removeprefix("Value error, ")
    if first["type"] != "value_error" and isinstance(first["input"], str | int | float | None):
        words += f", not {first['input']!r}"
    return f"{field}: {words}" if field else words


def _once(numbers: dict[str, int], key: str, number: int, path: Path) -> None:
    first = numbers.setdefault(key, number)
    if first != number:
        raise _invalid(f"{path} line {number}: key {key!r} is that of line {first} too; every clip needs its own")


def _invalid(message: str) -> InputError:
    line = one_line(message)
    return InputError("manifest_invalid", line if len(line) <= 500 else f"{line[:497]}...")
