"""A data set's folder -> its manifest, beside the videos, and an account of what was left out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.errors import one_line
from fantasyid_engine.training.data.builders import BUILDERS
from fantasyid_engine.training.data.builders.entries import Builder, not_the_data_set
from fantasyid_engine.training.data.manifest import MANIFEST, Clip, write_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What became of a data set: so many clips, and the entries that were left out, by name and reason."""

    clips: int
    skipped: tuple[tuple[str, str], ...]


def build_manifest(name: str, folder: Path, *, on_clip: Callable[[int], None] = lambda done: None) -> Built:
    """Writes `manifest.jsonl` into the folder of data set `name` (see `BUILDERS`); replaces one that is there.

    Raises:
        ValueError: no such data set.
        InputError: `dataset_invalid`, the folder is not that data set.
        OutputError: the file cannot be created.
        WriteError: it cannot be written to its end.
    """
    if name not in BUILDERS:
        raise ValueError(f"data set is {name!r}; it must be one of {', '.join(BUILDERS)}")
    if not folder.is_dir():
        raise not_the_data_set(folder, name, "there is no such folder")
    skipped: list[tuple[str, str]] = []

    def skip(entry: str, reason: str) -> None:
        skipped.append((one_line(entry)[:200], one_line(reason)[:300]))

    count = write_manifest(folder / MANIFEST, _once(BUILDERS[name], folder, skip, on_clip))
    return Built(clips=count, skipped=tuple(skipped))


def _once(
    builder: Builder, folder: Path, skip: Callable[[str, str], None], on_clip: Callable[[int], None]
) -> Iterator[Clip]:
    keys: set[str] = set()
    for clip in builder(folder, skip):
        if clip.key in keys:
            skip(clip.video, "it is listed twice")
            continue
        keys.add(clip.key)
        on_clip(len(keys))
        yield clip
