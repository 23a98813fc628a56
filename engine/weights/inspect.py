"""What a model folder holds: modules, parameters, dtypes, the share that is live, and hashes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.weights.folder import describe, load_hierarchy, model_files
from fantasyid_engine.weights.load import build_on_meta, match_entries
from fantasyid_engine.weights.manifest import file_digests, verify_files
from fantasyid_engine.weights.released_keys import Dead
from fantasyid_engine.weights.shards import Entry


@dataclass(frozen=True, slots=True)
class ModuleReport:
    """Tensors of one module as the files name it; of its `parameters`, `dead` are not loaded."""

    name: str
    tensors: int
    parameters: int
    dead: int
    dtypes: dict[str, int]


@dataclass(frozen=True, slots=True)
class DeadReport:
    """Tensors that are not loaded, for one reason."""

    reason: str
    tensors: int
    parameters: int


@dataclass(frozen=True, slots=True)
class FileReport:
    """One weight file."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FolderReport:
    """A model folder that loads."""

    form: str
    layers: int
    injections: int
    id_tokens: int
    modules: list[ModuleReport]
    dead: list[DeadReport]
    files: list[FileReport]


def inspect_folder(folder: Path) -> FolderReport:
    """Reports on a model folder whose files are those of its manifest, where it has one, and whose keys and shapes fit.

    Raises:
        WeightsError: see `load_network`.
        ConfigError: see `load_network`.
    """
    files = model_files(folder)
    digests = verify_files(folder, list(files)) or file_digests(files)
    config, entries, place = describe(files)
    network = build_on_meta(config, load_hierarchy(files.mesh, config.mesh), files.config)
    match_entries(network, entries, place, folder)
    dead = {entry: row for entry in entries if isinstance(row := place(entry), Dead)}
    reasons: dict[str, list[Entry]] = {}
    for entry, row in dead.items():
        reasons.setdefault(row.reason, []).append(entry)
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(_module(entry.key), []).append(entry)
    return FolderReport(
        form=config.form,
        layers=config.dit.num_layers,
        injections=config.dit.num_injections,
        id_tokens=config.num_id_tokens,
        modules=[
            ModuleReport(
                name=name,
                tensors=len(group),
                parameters=sum(entry.numel for entry in group),
                dead=sum(entry.numel for entry in group if entry in dead),
                dtypes=dict(Counter(entry.dtype for entry in group)),
            )
            for name, group in groups.items()
        ],
        dead=[DeadReport(reason, len(group), sum(entry.numel for entry in group)) for reason, group in reasons.items()],
        files=[
            FileReport(path.relative_to(folder).as_posix(), path.stat().st_size, digest)
            for path, digest in digests.items()
        ],
    )


def _module(key: str) -> str:
    """The first part of a key; of our own layout the first two, of a layer's the name without its number."""
    parts = key.split(".")
    return ".".join(parts[:2]) if parts[0] in ("tower", "conditioner", "dit") else parts[0]
