"""A conditioning as a file, so that photos need not travel: what `faces encode` writes and `generate --face` renders.

    person.safetensors    id_tokens [1 or 2, K, C], and for models whose first frame is the photo: crop [S, S, 3]
                          header: one JSON object with format, record, the model's fingerprint, SHA-256 over all of it

Whoever has the file can make videos of the person: guard it as the photo.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from fantasyid_engine.atomic import atomic_file, check_new_file
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError, InputError, OutputError, one_line
from fantasyid_engine.face.conditioning import Conditioning, FaceRecord
from fantasyid_engine.face.source import Source, name_of, read_source
from fantasyid_engine.weights.model import Model

FORMAT = "fantasyid-face-1"
HEADER = "face"
MAX_BYTES, MAX_HEADER_BYTES = 64 << 20, 64 << 10
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True)
class KeptFace:
    """A conditioning that came as a file, and the SHA-256 of the file's bytes."""

    conditioning: Conditioning
    sha256: str

    @property
    def digests(self) -> dict[str, str]:
        """Of what a request brings."""
        return {"face": self.sha256}


def read_kept(source: Source, model: Model) -> KeptFace:
    """Reads a file that `to_bytes` made for the same model.

    Raises:
        InputError: `face_missing`, no such file can be read; `face_unreadable`, above 64 MiB, damaged or no such file;
            `face_other_model`, made for another model.
    """
    data = read_source(source, "face", MAX_BYTES, "face_missing", "face_unreadable")
    return KeptFace(_from_bytes(data, name_of(source, "face"), model), hashlib.sha256(data).hexdigest())


def check_kept(path: Path, *, overwrite: bool) -> None:
    """Refuses, before any work, a path that is no new .safetensors; `overwrite` allows a file that is there.

    Raises:
        OutputError: another suffix; something is there already; the place is no folder or not writable.
    """
    if path.suffix != ".safetensors":
        raise OutputError(f"cannot write {path}: a face is kept as .safetensors; name it so")
    check_new_file(path, overwrite=overwrite)


def save_kept(data: bytes, path: Path) -> None:
    """Writes what `to_bytes` made, whole or not at all, for its owner alone to read; raises OutputError."""
    with atomic_file(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_bytes(data)


def to_bytes(conditioning: Conditioning, model: Model) -> bytes:
    """A conditioning as the bytes of a safetensors file; without its crop where the model makes no use of it."""
    tensors = {"id_tokens": conditioning.id_tokens.cpu().contiguous()}
    if model.takes_picture and conditioning.crop is not None:
        tensors["crop"] = torch.from_numpy(np.ascontiguousarray(conditioning.crop))
    header = {"format": FORMAT, "record": to_json_object(conditioning.record), "model": model.fingerprint}
    # As one string: the library writes several in any order, and the same face should be the same bytes.
    return save(tensors, {HEADER: json.dumps(header | {"sha256": _digest(tensors, header)}, sort_keys=True)})


def _from_bytes(data: bytes, name: str, model: Model) -> Conditioning:
    """In the model's precision, on its device."""
    try:
        header, tensors = header_of(data), load(data)
        if header.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        if header.pop("sha256", None) != _digest(tensors, header):
            raise ValueError("it is damaged")
        if header["model"] != model.fingerprint:
            raise InputError(
                "face_other_model",
                f"{name} was encoded for another model, or for other weights of it; "
                f"encode the photo again: fantasyid-engine faces encode PHOTO --model {one_line(model.name)} -o FILE",
            )
        record = from_json_object(FaceRecord, header["record"], Path(name))
        tokens, crop = tensors["id_tokens"], tensors.get("crop")
        _check(tokens, crop, model)
        tokens = tokens.to(model.network.tower.cls_token)
        if not bool(tokens.isfinite().all()):
            raise ValueError("its tokens are no numbers")
        return Conditioning(tokens, None if crop is None else crop.numpy(), record)
    except (SafetensorError, ConfigError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = one_line(str(error))[:160]
        raise InputError(
            "face_unreadable", f"{name} is no face that `faces encode` wrote ({reason}); encode the photo again"
        ) from None


def header_of(data: bytes) -> dict[str, Any]:
    """What a safetensors file says beside its tensors; the library tells it of files only."""
    length = int.from_bytes(data[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"its header has {length} bytes")
    return dict(json.loads(json.loads(data[8 : 8 + length])["__metadata__"][HEADER]))


def _digest(tensors: dict[str, Tensor], header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _check(tokens: Tensor, crop: Tensor | None, model: Model) -> None:
    """Raises ValueError for tensors that the model did not make."""
    if tuple(tokens.shape) != model.id_tokens_shape or tokens.dtype not in DTYPES:
        raise ValueError(f"its tokens are {tokens.dtype} {tuple(tokens.shape)}")
    if model.takes_picture and crop is None:
        raise ValueError("it has no crop")
    if crop is not None and (crop.dtype != torch.uint8 or crop.ndim != 3 or crop.shape[-1] != 3 or not crop.numel()):
        raise ValueError(f"its crop is {crop.dtype} {tuple(crop.shape)}")
