"""The folders of a pull, so laid out that it may be killed at any point.

    HOME/.downloads/PRESET/             source.json (the pin), the files as the hub has them
    HOME/.downloads/PRESET/.parts/      files begun, by digest
    HOME/.downloads/PRESET.new/         the model, whole, about to take its place
    HOME/.downloads/PRESET.old/         the model that it replaces
    HOME/PRESET/                        the model, with manifest.json and source.json

All on one disk: files move by renaming, and stand in two folders as two names of one file.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import from_json_object, read_json_object, to_json_object
from fantasyid_engine.errors import ConfigError, OutputError, WeightsError, some_of
from fantasyid_engine.weights.home import DOWNLOADS, PIN
from fantasyid_engine.weights.hub import HubFile, Snapshot
from fantasyid_engine.weights.manifest import NAME as MANIFEST
from fantasyid_engine.weights.manifest import read_manifest
from fantasyid_engine.weights.sources import Source, made_name

SPARE_BYTES = 64 << 20
"""Room for what is written beside the weights."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where a pull of `preset` into `home` works."""

    home: Path
    preset: str

    @property
    def target(self) -> Path:
        """The model."""
        return self.home / self.preset

    @property
    def root(self) -> Path:
        """Everything that is not yet a model."""
        return self.home / DOWNLOADS

    @property
    def downloads(self) -> Path:
        """Files as the hub has them."""
        return self.root / self.preset

    @property
    def new(self) -> Path:
        """The model before it takes its place."""
        return self.root / f"{self.preset}.new"

    @property
    def old(self) -> Path:
        """The model that has lost its place."""
        return self.root / f"{self.preset}.old"

    def fetched(self, file: HubFile) -> Path:
        """Where a file lies once it is there."""
        return self.downloads / file.path

    def part(self, file: HubFile) -> Path:
        """Where a file lies until then."""
        return self.downloads / ".parts" / file.digest

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Holds off another pull; the lock goes with the process, however that ends."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(f"another pull is at work in {self.root}: wait until it ends") from None
            yield

    def tidy(self) -> None:
        """Clears away what a pull that was killed has left half made."""
        for path in [*self.root.glob(f".{self.new.name}.*.partial"), self.new]:
            shutil.rmtree(path, ignore_errors=True)
        for path in self.downloads.glob(f".{PIN}.*.partial"):
            path.unlink()
        if self.old.exists() and not self.target.exists():
            self.old.rename(self.target)
        shutil.rmtree(self.old, ignore_errors=True)

    def pin(self, snapshot: Snapshot, begun: Snapshot | None) -> None:
        """Writes down what is pulled; what was begun of another commit goes, as far as it is another file."""
        for file in begun.files if begun else ():
            if file not in snapshot.files:
                self.fetched(file).unlink(missing_ok=True)
                self.part(file).unlink(missing_ok=True)
        self.downloads.mkdir(exist_ok=True)
        with atomic_file(self.downloads / PIN) as temporary:
            temporary.write_text(json.dumps(to_json_object(snapshot), indent=1) + "\n")

    def check_replaceable(self, done: Snapshot | None, source: Source) -> None:
        """Raises OutputError where the target holds anything that is neither a pull's nor put there by hand."""
        if self.target.is_symlink() or (self.target.exists() and not self.target.is_dir()):
            raise OutputError(f"{self.target} is no folder: move it away, or name another home in FANTASYID_MODELS")
        known = {item.place for item in source.by_hand} | {MANIFEST, PIN}
        if done is not None:
            known |= {made_name(file.path) for file in done.files} | (read_manifest(self.target) or {}).keys()
        there = {path.relative_to(self.target).as_posix() for path in self.target.rglob("*") if not path.is_dir()}
        if strange := sorted(name for name in there - known if not name.endswith(".partial")):
            raise OutputError(f"{self.target} holds what no pull has put there ({some_of(strange)}): move it away")

    def check_room(self, snapshot: Snapshot, missing: Sequence[HubFile]) -> None:
        """Raises OutputError where the disk has no room for what is to be fetched, and for what is converted."""
        needed = SPARE_BYTES + sum(file.size_bytes for file in snapshot.files if made_name(file.path) != file.path)
        for file in missing:
            part = self.part(file)
            needed += file.size_bytes - min(file.size_bytes, part.stat().st_size if part.is_file() else 0)
        free = shutil.disk_usage(self.downloads).free
        if free < needed:
            raise OutputError(
                f"{self.downloads} needs {size_text(needed)}, its disk has {size_text(free)}: make room, or name a "
                "folder on a larger disk in FANTASYID_MODELS"
            )

    def replace(self) -> None:
        """Puts the new model where the old one was, if any."""
        if self.target.exists():
            self.target.rename(self.old)
        self.new.rename(self.target)
        shutil.rmtree(self.old, ignore_errors=True)

    def clear(self) -> None:
        """Removes what a pull has put into its download folder, the pin last, and leaves what a user has."""
        if not self.downloads.is_dir():
            return
        snapshot = read_pin(self.downloads)
        for file in snapshot.files if snapshot else ():
            self.fetched(file).unlink(missing_ok=True)
        shutil.rmtree(self.downloads / ".parts", ignore_errors=True)
        for folder in sorted((path for path in self.downloads.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        (self.downloads / PIN).unlink(missing_ok=True)
        if not any(self.downloads.iterdir()):
            self.downloads.rmdir()


def read_pin(folder: Path) -> Snapshot | None:
    """What a folder was pulled from, or None where it was not; raises WeightsError where its pin cannot be read."""
    path = folder / PIN
    if not path.exists():
        return None
    try:
        return from_json_object(Snapshot, read_json_object(path, WeightsError), path)
    except ConfigError as error:
        raise WeightsError(f"{error}; remove that file to pull anew") from None


def damaged(folder: Path) -> Iterator[str]:
    """What is wrong with the files of a folder with a manifest, by their sizes.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    for name, row in (read_manifest(folder) or {}).items():
        path = folder / name
        if not path.is_file():
            yield f"{path} is missing"
        elif path.stat().st_size != row["size_bytes"]:
            yield f"{path} has {path.stat().st_size} bytes instead of {row['size_bytes']}"


def is_whole(folder: Path, done: Snapshot) -> bool:
    """Whether a model folder has every file of its pin and its manifest, by names and sizes."""
    made = {made_name(file.path) for file in done.files}
    return made <= (read_manifest(folder) or {}).keys() and next(damaged(folder), None) is None


def link(source: Path, made: Path) -> None:
    """Another name for the same file, or a copy on disks that know no such thing."""
    made.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, made)


def size_text(size_bytes: int) -> str:
    """A size as people read it."""
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e7 else f"{size_bytes / 1e3:.1f} kB"
