"""SHA-256 of every file of a model folder, in `manifest.json` beside them."""

import hashlib
import json
from pathlib import Path

from fantasyid_engine.errors import WeightsError

NAME = "manifest.json"


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(folder: Path) -> None:
    """Writes hashes and sizes of all files below `folder` (but of the manifest itself)."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != NAME)
    rows = {p.relative_to(folder).as_posix(): {"sha256": sha256(p), "size_bytes": p.stat().st_size} for p in files}
    (folder / NAME).write_text(json.dumps({"files": rows}, indent=1) + "\n")


def read_manifest(folder: Path) -> dict[str, dict[str, str | int]] | None:
    """Hash and size by relative path, or None where the folder has no manifest.

    Raises:
        WeightsError: the manifest cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        rows = json.loads(path.read_text())["files"]
        return {
            name: {"sha256": str(row["sha256"]), "size_bytes": int(row["size_bytes"])} for name, row in rows.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} is no manifest ({error}): fetch or convert the folder again") from None


def verify_files(folder: Path, files: list[Path]) -> None:
    """Compares `files` with the folder's manifest; does nothing where there is none.

    Raises:
        WeightsError: a file has another size or hash than when the manifest was written.
    """
    rows = read_manifest(folder)
    if rows is None:
        return
    for path in files:
        row = rows.get(path.relative_to(folder).as_posix())
        if row is None:
            continue
        size = path.stat().st_size
        if size != row["size_bytes"]:
            raise WeightsError(f"{path} has {size} bytes instead of {row['size_bytes']}: fetch or convert it again")
        if sha256(path) != row["sha256"]:
            raise WeightsError(f"{path} is corrupt (its SHA-256 is not the manifest's): fetch or convert it again")
