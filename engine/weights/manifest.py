"""SHA-256 of every file of a model folder, in `manifest.json` beside them."""

import hashlib
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights.shards import reading

NAME = "manifest.json"

Rows = dict[str, dict[str, Any]]
"""`sha256` and `size_bytes` of each file, by its path relative to the folder."""


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_digests(files: Iterable[Path]) -> dict[Path, str]:
    """Hex digest of each file; raises WeightsError that names the one that cannot be read."""
    digests = {}
    for path in files:
        with reading(path):
            digests[path] = sha256(path)
    return digests


def write_manifest(folder: Path) -> None:
    """Writes hashes and sizes of all files below `folder` (but of the manifest itself)."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    _write(folder, {p.relative_to(folder).as_posix(): _row(p) for p in files})


def add_to_manifest(path: Path) -> None:
    """Renews the row of a file in the manifest of the model folder it lies in, where there is one."""
    for folder in list(path.absolute().parents)[:2]:
        try:
            rows = read_manifest(folder)
        except WeightsError:  # another program's manifest.json
            continue
        if rows is not None:
            _write(folder, rows | {path.absolute().relative_to(folder).as_posix(): _row(path)})
            return


def _row(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path), "size_bytes": path.stat().st_size}


def _write(folder: Path, rows: Rows) -> None:
    with atomic_file(folder / NAME) as temporary:
        temporary.write_text(json.dumps({"files": rows}, indent=1) + "\n")


def read_manifest(folder: Path) -> Rows | None:
    """The rows of a folder's manifest, or None where the folder has none.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    rows = read_json_object(path, WeightsError).get("files")
    kinds = {"sha256": str, "size_bytes": int}
    if not isinstance(rows, dict) or not all(
        isinstance(row, dict) and all(isinstance(row.get(name), kind) for name, kind in kinds.items())
        for row in rows.values()
    ):
        raise WeightsError(f"{path} is no manifest: fetch or convert the folder again")
    return rows


def verify_files(folder: Path, files: list[Path]) -> dict[Path, str]:
    """Compares `files` with the folder's manifest -> the SHA-256 of each; reads nothing where there is no manifest.

    Raises:
        WeightsError: a file is not in the manifest, or has another size or hash than when it was written.
    """
    rows = read_manifest(folder)
    return {} if rows is None else {path: _verified(folder, path, rows) for path in files}


def stated_digests(folder: Path, files: list[Path]) -> dict[Path, str]:
    """The SHA-256 of `files` as the folder's manifest states them, not compared; empty where it lacks one of them.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    rows = read_manifest(folder) or {}
    names = {path: path.relative_to(folder).as_posix() for path in files}
    return {path: rows[name]["sha256"] for path, name in names.items()} if rows.keys() >= set(names.values()) else {}


def _verified(folder: Path, path: Path, rows: Rows) -> str:
    expected = rows.get(path.relative_to(folder).as_posix())
    if expected is None:
        raise WeightsError(
            f"{path} is not in {folder / NAME}: fetch or convert the folder again; or, if you put it there, "
            f"take it out and put it in with: fantasyid-engine weights convert FILE {shlex.quote(str(path))}"
        )
    with reading(path):
        size = path.stat().st_size
        if size != expected["size_bytes"]:
            raise WeightsError(f"{path} has {size} bytes instead of {expected['size_bytes']}: fetch it again")
        digest = sha256(path)
    if digest != expected["sha256"]:
        raise WeightsError(f"{path} is corrupt (its SHA-256 is not the manifest's): fetch it again")
    return digest
