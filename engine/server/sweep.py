"""Removing files that nothing needs: left by what was stopped halfway, or by jobs that are gone."""

import os
import shutil
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

PARTIAL = ".partial"
"""How the names of files end that are not whole."""
WRITING_S = 3600.0
"""No file takes longer to write."""


def remove_unknown(root: Path, needed: Mapping[str, Container[str]], opened_at: float) -> int:
    """Removes all in the folders of `needed` whose name up to its first full stop is not in it, and what is not whole.

    But what is not whole and was written since the server came up, at `opened_at`, may be under way: it has an hour.
    Returns how many bytes were freed.
    """
    before = max(opened_at, time.time() - WRITING_S)
    return _freed(chain(_unknown(root, needed), _partial(root, before)))


def remove_old(folder: Path, since: float) -> int:
    """Removes files that were last written before `since`, in seconds since 1970; how many bytes that freed."""
    return _freed(path for path in folder.iterdir() if _written_before(path, since))


def _freed(paths: Iterable[Path]) -> int:
    freed = 0
    for path in paths:
        with suppress(OSError):  # gone already, or the next sweep tries it again
            size_bytes = _size_bytes(path)
            _remove(path)
            freed += size_bytes
    return freed


def _unknown(root: Path, needed: Mapping[str, Container[str]]) -> Iterator[Path]:
    for folder, names in needed.items():
        for path in (root / folder).iterdir():
            if path.suffix != PARTIAL and path.name.partition(".")[0] not in names:
                yield path


def _partial(root: Path, before: float) -> Iterator[Path]:
    return (path for path in root.glob(f"*/*{PARTIAL}") if _written_before(path, before))


def _written_before(path: Path, when: float) -> bool:
    try:
        return path.lstat().st_mtime < when
    except OSError:
        return False


def _size_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder."""
    below = (Path(folder, name) for folder, _, files in os.walk(path) for name in files)
    return sum(file.lstat().st_size for file in (path, *below) if not file.is_dir())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
