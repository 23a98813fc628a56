"""Turning pickled weights into safetensors, offline: torch files, mesh hierarchies and FLAME, whole model folders.

torch files are read with `weights_only`, numpy pickles with the allow-list of `unpickle`: nothing of a file ever runs.
A pickle of tables becomes what it holds, whatever its name is.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from safetensors.torch import save_file

from fantasyid_engine.atomic import atomic_file, atomic_folder
from fantasyid_engine.errors import OutputError, WeightsError, some_of
from fantasyid_engine.weights.faces import DECA, FLAME, RETINAFACE
from fantasyid_engine.weights.flame_pickle import flame_of, is_flame
from fantasyid_engine.weights.manifest import NAME as MANIFEST
from fantasyid_engine.weights.manifest import add_to_manifest, read_manifest, verify_files, write_manifest
from fantasyid_engine.weights.mesh_pickle import hierarchy_of, is_hierarchy
from fantasyid_engine.weights.shards import PICKLES, open_file, reading
from fantasyid_engine.weights.torch_pickle import LeftOut, load_state_dict
from fantasyid_engine.weights.unpickle import load_arrays

MESH = "face_encoder/mesh.safetensors"
TABLES = ("transform.pkl", "generic_model.pkl")
"""Pickles of a folder that are read; what they hold says where it goes."""
PLACES = {
    "deca_model.tar": DECA,
    "detection_Resnet50_Final.pth": RETINAFACE,
}
"""Where torch files go in a model folder, wherever they lie in the other; those with no place here keep theirs."""
UNREAD = ("parsing_bisenet.pth", "parsing_parsenet.pth")
"""Networks that the authors load beside RetinaFace."""


def convert(source: Path, target: Path) -> list[str]:
    """Converts a file to a file, or a model folder to a model folder with a manifest.

    Args:
        source: a pickled file, a safetensors file that is to be in a model folder, or a folder in the authors' layout.
        target: the new safetensors file, or folder, to make. The manifest of a model folder that a file is made in is
            renewed.

    Returns:
        One line for each file made, and for what was left out.

    Raises:
        WeightsError: `source` is missing, unreadable, refused, not of a kind that is converted, or not what its own
            manifest says.
        OutputError: `target` exists or cannot be written.
    """
    with reading(source):
        if source.is_dir():
            return _convert_folder(source, target)
        if not source.is_file():
            raise WeightsError(f"nothing to convert at {source}")
    if target.suffix != ".safetensors":
        raise WeightsError(f"{target} must end in .safetensors")
    if target.exists():
        raise OutputError(f"cannot write {target}: it exists already; remove it, or name another file")
    ready = source.suffix == ".safetensors"
    converted = _Converted(partial(_copy, source), "as it was", "", {}) if ready else _read(source)
    with atomic_file(target) as temporary:
        converted.save(temporary)
    add_to_manifest(target)
    return converted.report(target)


def _convert_folder(source: Path, target: Path) -> list[str]:
    if target.resolve().is_relative_to(source.resolve()):
        raise WeightsError(f"{target} lies in {source}; name a folder outside it")
    known = read_manifest(source) or {}
    verify_files(source, [source / name for name in known])
    lines = []
    with atomic_folder(target) as temporary:
        for path in _files(source):
            relative, suffix = path.relative_to(source), path.suffix.lower()
            if path.name in UNREAD or (suffix == ".pkl" and path.name not in TABLES):
                lines.append(f"left out {path}: no network of this engine reads it")
                continue
            converted = _read(path) if suffix in (*PICKLES, ".pkl") else None
            place = relative if converted is None else converted.place or relative.with_suffix(".safetensors")
            made = temporary / place
            if made.exists():
                raise WeightsError(
                    f"{path} and {made.relative_to(temporary)} are both there: remove the one not wanted"
                )
            if converted is None:
                _copy(path, made)
            else:
                made.parent.mkdir(parents=True, exist_ok=True)
                converted.save(made)
                lines += converted.report(target / made.relative_to(temporary))
        if not any(temporary.rglob("*.safetensors")):
            raise WeightsError(f"{source} holds no weights")
        write_manifest(temporary)
    return [*lines, f"wrote {target / MANIFEST}"]


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, through links, in name order; without hidden ones and an old manifest.

    Raises:
        WeightsError: a link that leads nowhere or back up.
    """
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == MANIFEST:
            continue
        if entry.is_dir():
            if folder.resolve().is_relative_to(entry.resolve()):
                raise WeightsError(f"{entry} is a link to a folder that it lies in")
            yield from _files(entry)
        elif entry.is_file():
            yield entry
        else:
            raise WeightsError(f"{entry} is a link that leads nowhere, or no file")


def _copy(source: Path, target: Path) -> None:
    if source.suffix == ".safetensors":
        open_file(source)
    try:
        file = source.open("rb")
    except OSError as error:
        raise WeightsError(f"{source} cannot be read: {error.strerror}") from None
    with file:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as copy:
            shutil.copyfileobj(file, copy, length=2**24)


@dataclass(frozen=True, slots=True)
class _Converted:
    """What a file became: how to save it, what it is, its place in a model folder if it has one, what was left out."""

    save: Callable[[Path], object]
    what: str
    place: str
    left_out: LeftOut

    def report(self, target: Path) -> list[str]:
        lines = [f"left out of {target}: {some_of(names)} ({why})" for why, names in self.left_out.items()]
        return [f"wrote {target}: {self.what}", *lines]


def _read(source: Path) -> _Converted:
    suffix = source.suffix.lower()
    if suffix == ".pkl":
        return _read_tables(source)
    if suffix not in PICKLES:
        raise WeightsError(f"{source} is not of a kind that is converted ({', '.join(PICKLES)}, .pkl)")
    tensors, left_out = load_state_dict(source)
    save = partial(save_file, tensors, metadata={"format": "pt"})
    return _Converted(save, f"{len(tensors)} tensors", PLACES.get(source.name, ""), left_out)


def _read_tables(source: Path) -> _Converted:
    tables = load_arrays(source)
    if is_flame(tables):
        flame = flame_of(tables, source)
        return _Converted(flame.save, f"a face model of {len(flame.template)} vertices", FLAME, {})
    if is_hierarchy(tables):
        hierarchy = hierarchy_of(tables, source)
        return _Converted(hierarchy.save, f"a mesh hierarchy of {hierarchy.levels} vertices", MESH, {})
    raise WeightsError(f"{source} holds tables neither of a mesh hierarchy nor of FLAME; no other pickle is read")
