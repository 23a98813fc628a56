"""Samples in tar files, in webdataset's layout, read by index.

    index.json            {"format": "fantasyid-shards-1", "count": n, "about": {...}, "shards": [{"file", "bytes",
                          "members": [[offset and length of the words, of the tensors], ...]}, ...]}
    shard-000000.tar      KEY.json (key, person, prompt), KEY.safetensors (tensors), KEY.json, ...

`webdataset.WebDataset` reads the tar files too, and nothing here needs that library: in its version 1.0 nothing reads
by index, its decoders take pickles, and it leaves the shards it has read open. The index says where each member's bytes
are, so that a sample is two reads whatever its number, and a run can go on from any position.
"""

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain, islice
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.training.data.sample import TrainingSample

FORMAT = "fantasyid-shards-1"
INDEX = "index.json"
LONGEST_KEY = 200
"""As in manifests."""
WORDS = ("key", "person", "prompt")
TENSORS = tuple(field.name for field in fields(TrainingSample) if field.name not in WORDS)


def write_shards(
    folder: Path,
    samples: Iterable[TrainingSample],
    *,
    samples_per_shard: int = 256,
    about: dict[str, Any] | None = None,
) -> int:
    """Writes a folder of shards, whole or not at all; the same samples give the same bytes.

    Args:
        folder: new, or empty.
        samples: with a key of its own each; taken one by one, and not gathered.
        samples_per_shard: in a tar file.
        about: how they were made, as JSON has it; the index keeps it.

    Returns:
        How many samples there are.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
        ValueError: a key is there twice or is no file's name, or `samples_per_shard` is below 1.
    """
    if samples_per_shard < 1:
        raise ValueError(f"samples_per_shard is {samples_per_shard}; it must be at least 1")
    shards: list[dict[str, Any]] = []
    keys: set[str] = set()
    with atomic_folder(folder) as place:
        left = iter(samples)
        for first in left:
            path = place / f"shard-{len(shards):06d}.tar"
            shards.append(_write_shard(path, chain([first], islice(left, samples_per_shard - 1)), keys))
        index = {"format": FORMAT, "count": len(keys), "about": about or {}, "shards": shards}
        (place / INDEX).write_text(json.dumps(index) + "\n", encoding="utf-8")
    return len(keys)


def _write_shard(path: Path, samples: Iterator[TrainingSample], keys: set[str]) -> dict[str, Any]:
    members = []
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for sample in samples:
            _check_key(sample.key, keys)
            keys.add(sample.key)
            words = json.dumps({name: getattr(sample, name) for name in WORDS}).encode()
            tensors = {name: getattr(sample, name) for name in TENSORS}
            kept = {name: value.contiguous() for name, value in tensors.items() if value is not None}
            members.append(
                [*_add(tar, f"{sample.key}.json", words), *_add(tar, f"{sample.key}.safetensors", save(kept))]
            )
    return {"file": path.name, "bytes": path.stat().st_size, "members": members}


def _check_key(key: str, keys: set[str]) -> None:
    if key in keys:
        raise ValueError(f"the key {key!r} is there twice; every sample needs its own")
    if not 0 < len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable() or set(key) & set("./\\"):
        raise ValueError(f"{key!r} is no key; it must be 1 to {LONGEST_KEY} characters of ASCII but for . / and \\")


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> tuple[int, int]:
    """Offset and length of a member's bytes."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
    blocks = -(-len(data) // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE, len(data)


class ShardedSamples(Sequence[TrainingSample]):
    """The samples of a folder, by index; from several threads and processes at once. `about` is what the writer said.

    Raises:
        InputError: `shards_unreadable`, the index or a shard is missing, damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / INDEX
        try:
            self.about, self._places = _read_index(path.read_bytes(), folder)
        except OSError as error:
            raise _unreadable(Path(error.filename or path), str(error.strerror)) from None
        except (ValueError, KeyError, TypeError):
            raise _unreadable(path, f"it is no index of {FORMAT}") from None

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> TrainingSample:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Sample number `index`, from 0; raises IndexError beyond the last."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        name, at_words, words, at_tensors, tensors = self._places[index]
        path = self.folder / name
        try:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                said = json.loads(os.pread(descriptor, words, at_words))
                kept = load(os.pread(descriptor, tensors, at_tensors))
            finally:
                os.close(descriptor)
            values: dict[str, Any] = {**{name: said[name] for name in WORDS}, **kept}
            return TrainingSample(**values)
        except OSError as error:
            raise _unreadable(path, str(error.strerror)) from None
        except (ValueError, KeyError, TypeError, SafetensorError):
            raise _unreadable(path, f"sample {index} in it is damaged") from None


_Place = tuple[str, int, int, int, int]
"""A shard's file; offset and length of a sample's words, and of its tensors."""


def _read_index(data: bytes, folder: Path) -> tuple[dict[str, Any], list[_Place]]:
    """`about`, and where each sample is; ValueError, KeyError or TypeError where it is none."""
    index = json.loads(data)
    places: list[_Place] = []
    for shard in index["shards"]:
        name, size = str(shard["file"]), int(shard["bytes"])
        if Path(name).name != name:
            raise ValueError(name)
        if (found := (folder / name).stat().st_size) != size:
            raise _unreadable(folder / name, f"it has {found} bytes, where the index says {size}")
        for at_words, words, at_tensors, tensors in shard["members"]:
            if not 0 <= at_words <= at_words + words <= at_tensors <= at_tensors + tensors <= size:
                raise ValueError("a member is not within its shard")
            places.append((name, at_words, words, at_tensors, tensors))
    if index["format"] != FORMAT or len(places) != index["count"] or not isinstance(index["about"], dict):
        raise ValueError("another format, or it does not count its samples")
    return index["about"], places


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError("shards_unreadable", one_line(f"{path} cannot be read: {reason}; make the shards again"))
