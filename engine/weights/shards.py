"""The safetensors files of one component: which there are, what is in them, and reading them without a second copy.

A component is `NAME.safetensors`, or the shards that `NAME.safetensors.index.json` lists, or, without an index, all
safetensors files of its folder.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import WeightsError, some_of

SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.safetensors$")
PICKLES = (".bin", ".pt", ".pth", ".tar", ".ckpt")
MAPPED_BYTES = 64 * 1024**2
"""A file is mapped anew after this many bytes, so that pages already read do not count as memory in use."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor in a file: its shape, its dtype as safetensors names it (F32, BF16, ...)."""

    path: Path
    key: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def numel(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, from the bits in the dtype's name (BOOL has none: 8)."""
        bits = re.search(r"\d+", self.dtype)
        return self.numel * (int(bits[0]) if bits else 8) // 8


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The files of a model folder, in either layout; `dit` holds the conditioner's too."""

    config: Path
    dit: list[Path]
    tower: list[Path]
    mesh: Path

    def __iter__(self) -> Iterator[Path]:
        return iter([self.config, *self.dit, *self.tower, self.mesh])


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what the system says of a path that cannot be read into WeightsError."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}") from None


def component_files(folder: Path, stem: str | None = None) -> list[Path]:
    """The safetensors files of a component, in name order.

    Args:
        folder: where they are.
        stem: file name without `.safetensors`; None takes the index of the folder, or all its safetensors files.

    Raises:
        WeightsError: none is there, or one that the index or the shard numbers name is missing.
    """
    index = sorted(folder.glob(f"{stem or '*'}.safetensors.index.json"))
    if index:
        files = [folder / name for name in sorted(set(_read_index(index[0]).values()))]
    else:
        pattern = f"{stem}*.safetensors" if stem else "*.safetensors"
        files = [p for p in sorted(folder.glob(pattern)) if stem is None or p.stem == stem or SHARD.fullmatch(p.name)]
        files += _gaps(files)
    if not files:
        pickles = [p.name for p in sorted(folder.glob("*")) if p.suffix in PICKLES]
        if pickles:
            raise WeightsError(
                f"{folder} holds {some_of(pickles)} and no safetensors; convert the model folder first: "
                "fantasyid-engine weights convert FOLDER NEW_FOLDER"
            )
        raise WeightsError(f"no weights in {folder}: expected {stem or '*'}.safetensors")
    missing = [p.name for p in files if not p.is_file()]
    if missing:
        raise WeightsError(f"{folder} lacks {some_of(missing)}: the download is not complete")
    return files


def _read_index(path: Path) -> dict[str, str]:
    weight_map = read_json_object(path, WeightsError).get("weight_map")
    if not isinstance(weight_map, dict) or not all(
        isinstance(name, str) and name.endswith(".safetensors") and Path(name).name == name
        for name in weight_map.values()
    ):
        raise WeightsError(f"{path} is no safetensors index")
    return weight_map


def _gaps(files: list[Path]) -> list[Path]:
    """Shards that the numbers in the names of others say there must be."""
    gaps = []
    for file in files:
        if match := SHARD.fullmatch(file.name):
            stem, _, total = match.groups()
            names = (f"{stem}-{i:05d}-of-{total}.safetensors" for i in range(1, int(total) + 1))
            gaps += [file.with_name(name) for name in names if not file.with_name(name).exists()]
    return sorted(set(gaps))


def read_entries(files: list[Path]) -> list[Entry]:
    """The tensors of all files, from their headers.

    Raises:
        WeightsError: a file is truncated or no safetensors file, or two files hold the same key.
    """
    entries: dict[str, Entry] = {}
    for path in files:
        with open_file(path) as file:
            for key in list(file.keys()):
                part = file.get_slice(key)
                if key in entries:
                    raise WeightsError(f"{key} is in both {entries[key].path} and {path}: remove one of the two")
                entries[key] = Entry(path, key, tuple(part.get_shape()), part.get_dtype())
    return list(entries.values())


def open_file(path: Path) -> safe_open:
    """Opens one safetensors file for reading; raises WeightsError where it is truncated or no such file."""
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is truncated or no safetensors file ({error}): fetch or convert it again") from None


def read_tensors(entries: list[Entry]) -> Iterator[tuple[Entry, Tensor]]:
    """Yields each tensor, file by file; it lies in the mapped file, so use it up before the next one."""
    entries = sorted(entries, key=lambda entry: entry.path)
    start = 0
    while start < len(entries):
        path, size, end = entries[start].path, 0, start
        while end < len(entries) and entries[end].path == path and (size < MAPPED_BYTES or end == start):
            size += entries[end].size_bytes
            end += 1
        with open_file(path) as file:
            for entry in entries[start:end]:
                yield entry, file.get_tensor(entry.key)
        start = end
