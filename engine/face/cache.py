"""Faces that were read before: in memory, and in a folder where one is named.

    key = SHA-256(photo, vertices, choice, shape, how DECA sees it, model, precision, device, version)

A file is there whole or not at all, and says by its own hash whether it still is what was written; one that does not is
made again. Processes may share a folder: they write under names of their own and rename, and read files whole. Both
stores are bounded; what was not used for longest goes first. Files of other names are left alone, and a folder that
cannot be read or written costs the entry, not the render.
"""

import hashlib
import json
import os
import re
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import torch

from fantasyid_engine import __version__
from fantasyid_engine.config.serialise import to_json_object
from fantasyid_engine.errors import InputError, OutputError
from fantasyid_engine.face.conditioning import Conditioning, FaceInput, condition
from fantasyid_engine.face.stored import FORMAT, read_kept, save_kept, to_bytes
from fantasyid_engine.runtime.backend import resolve_kernels
from fantasyid_engine.weights.model import Model

ENTRY, LEFT = re.compile(r"[0-9a-f]{64}\.safetensors"), re.compile(r"\.[0-9a-f]{64}\.safetensors\..*\.partial")
"""Names of entries, and of what a process that died in the middle of one left behind."""
STALE_S = 600
"""Seconds after which nobody is writing any more."""


def face_key(model: Model, face: FaceInput) -> str:
    """Hex digest of everything that a conditioning depends on."""
    weight = model.network.tower.cls_token
    values = {
        "format": [FORMAT, __version__],
        "inputs": face.digests,
        "settings": [face.choice, face.shape_change, face.deca_input],
        "weights": dict(model.digests),
        "render": to_json_object(model.render),
        "runs": [str(weight.dtype), weight.device.type, resolve_kernels(weight.device), torch.__version__],
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class FaceCache:
    """Reads each face once for one model. Not for several threads at once; whoever owns it takes turns."""

    def __init__(self, model: Model, memory_bytes: int, folder: Path | None, disk_bytes: int) -> None:
        """Keeps up to `memory_bytes` in memory, and up to `disk_bytes` in `folder` where one is named; 0 keeps nothing.

        Raises:
            OutputError: the folder cannot be made.
        """
        self._model, self._memory_bytes, self._disk_bytes = model, memory_bytes, disk_bytes
        self._memory: OrderedDict[str, Conditioning] = OrderedDict()
        self._folder = folder
        if folder is not None:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"cannot keep faces in {folder}: {error.strerror}; name another folder") from None

    def __call__(self, face: FaceInput) -> Conditioning:
        """The conditioning of a face: kept, or read now; raises what `condition` raises."""
        key = face_key(self._model, face)
        made = self._memory.get(key) or self._from_disk(key)
        if made is None:
            made = condition(self._model, face)
            self._to_disk(key, made)
        self._keep(key, made)
        return made

    def _keep(self, key: str, made: Conditioning) -> None:
        self._memory[key] = made
        self._memory.move_to_end(key)
        while self._memory and sum(map(_size, self._memory.values())) > self._memory_bytes:
            self._memory.popitem(last=False)

    def _from_disk(self, key: str) -> Conditioning | None:
        if self._folder is None:
            return None
        path = self._path(self._folder, key)
        try:
            made = read_kept(path, self._model).conditioning
        except InputError as error:
            if error.code != "face_missing":
                _remove(path)
            return None
        with suppress(OSError):  # used now; another process may have removed it
            os.utime(path)
        return made

    def _to_disk(self, key: str, made: Conditioning) -> None:
        if self._folder is None:
            return
        with suppress(OutputError, OSError):
            save_kept(to_bytes(made, self._model), self._path(self._folder, key))
            _tidy(self._folder, self._disk_bytes)

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / f"{key}.safetensors"


def _size(made: Conditioning) -> int:
    return made.id_tokens.nbytes + (0 if made.crop is None else made.crop.nbytes)


def _remove(path: Path) -> None:
    """Another process may have been faster; another user's file may stay."""
    with suppress(OSError):
        path.unlink()


def _tidy(folder: Path, most_bytes: int) -> None:
    """Removes what is not used for longest until the rest fits, and what processes that died left behind."""
    entries = []
    for path in folder.iterdir():
        with suppress(OSError):
            status = path.stat()
            if ENTRY.fullmatch(path.name):
                entries.append((status.st_mtime, status.st_size, path))
            elif LEFT.fullmatch(path.name) and time.time() - status.st_mtime > STALE_S:
                _remove(path)
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= most_bytes:
            break
        _remove(path)
        total -= size
