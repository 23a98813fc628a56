"""What of the presets is on this machine: whole or not, which optional parts, and what is left to fetch by hand."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fantasyid_engine.config.presets import MINIATURES, PRESETS
from fantasyid_engine.errors import EngineError, WeightsError
from fantasyid_engine.weights.folder import model_files
from fantasyid_engine.weights.manifest import NAME as MANIFEST
from fantasyid_engine.weights.manifest import read_manifest, verify_files
from fantasyid_engine.weights.parts import part_files
from fantasyid_engine.weights.released import TRANSFORMERS
from fantasyid_engine.weights.shipped import MODELS
from fantasyid_engine.weights.sources import SOURCES
from fantasyid_engine.weights.workspace import Workspace, damaged, read_pin

State = Literal["present", "incomplete", "absent"]


@dataclass(frozen=True, slots=True)
class OptionalPart:
    """A file that a model renders without: where it goes, whether it is there, what a render lacks otherwise."""

    place: str
    there: bool
    without: str


@dataclass(frozen=True, slots=True)
class Errand:
    """A file that is missing and on no hub: where it is to be had, and the command that puts it in its place."""

    file: str
    origin: str
    command: str
    needed: bool


@dataclass(frozen=True, slots=True)
class PresetReport:
    """What is there of a preset; `problem` says why it does not render, and what to do."""

    name: str
    state: State
    folder: str
    problem: str
    optional: list[OptionalPart]
    errands: list[Errand]


def folder_of(preset: str, home: Path) -> Path:
    """Where a preset is, or would be."""
    return (MODELS if preset in MINIATURES else home) / preset


def look_at(preset: str, home: Path) -> PresetReport:
    """What is there of a preset, by names and sizes; `check_folder` compares contents."""
    folder, source = folder_of(preset, home), SOURCES.get(preset)
    state, problem = _state(preset, folder, home)
    optional = [item for item in (*source.parts, *source.by_hand) if item.without] if source else []
    missing = [item for item in source.by_hand if not (folder / item.place).is_file()] if source else []
    return PresetReport(
        name=preset,
        state=state,
        folder=str(folder),
        problem=problem,
        optional=[OptionalPart(item.place, (folder / item.place).is_file(), item.without) for item in optional],
        errands=[Errand(item.file, item.origin, item.command(folder), not item.without) for item in missing],
    )


def look_at_all(home: Path) -> list[PresetReport]:
    """See `look_at`; of every preset."""
    return [look_at(preset, home) for preset in PRESETS]


def _state(preset: str, folder: Path, home: Path) -> tuple[State, str]:
    pull = f"fantasyid-engine weights pull {preset}"
    try:
        if not folder.is_dir() and read_pin(Workspace(home, preset).downloads) is None:
            return "absent", f"fetch it with: {pull}"
        if not folder.is_dir():
            return "incomplete", f"a pull was stopped; go on with: {pull}"
        if wrong := next(damaged(folder), None):
            return "incomplete", f"{wrong}; fetch it again with: {pull}"
        if not (folder / MANIFEST).exists() and not any((folder / name).is_dir() for name in TRANSFORMERS):
            return "incomplete", f"{folder} holds no transformer; fetch it with: {pull}"
        model_files(folder)
        part_files(folder)
    except EngineError as error:
        return "incomplete", str(error)
    return "present", ""


def check_folder(folder: Path) -> Iterator[tuple[str, str]]:
    """Compares every file of a folder with its manifest -> its name, and what is wrong with it or nothing.

    Hidden files are not looked at.

    Raises:
        WeightsError: there is no folder, or no manifest in it.
    """
    if not folder.is_dir():
        raise WeightsError(f"no model folder at {folder}")
    rows = read_manifest(folder)
    if rows is None:
        raise WeightsError(
            f"{folder} has no {MANIFEST}, nothing to compare its files with; `weights pull` and `convert` make one"
        )
    there = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    found = {path.as_posix() for path in there if not any(part.startswith(".") for part in path.parts)}
    for name in sorted((found | rows.keys()) - {MANIFEST}):
        try:
            verify_files(folder, [folder / name])
        except WeightsError as error:
            yield name, str(error)
        else:
            yield name, ""
