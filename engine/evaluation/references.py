"""Photos of the people that videos are meant to show, and which photo belongs to which video."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.clips import Clip
from fantasyid_engine.face.photo import decode_photo, photo_bytes

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif")


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A photo [H, W, 3], upright sRGB, and the SHA-256 of its file."""

    path: Path
    sha256: str
    picture: NDArray[np.uint8]


def read_references(paths: Sequence[Path]) -> tuple[Reference, ...]:
    """Photos and folders of photos, each file once.

    Raises:
        InputError: `reference_missing`, a folder holds no photo; what reading a photo raises.
    """
    files: dict[Path, Path] = {}
    for path in paths:
        for file in photos_in(path) if path.is_dir() else [path]:
            files.setdefault(file.resolve(), file)
    return tuple(read_reference(file) for file in files.values())


def photos_in(folder: Path) -> list[Path]:
    """The photos of a folder, by name.

    Raises:
        InputError: `reference_missing`, it holds none or cannot be read.
    """
    try:
        files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PHOTOS and f.name[0] != "." and f.is_file())
    except OSError as error:
        raise InputError("reference_missing", f"{folder} cannot be read: {error.strerror}; name another") from None
    if not files:
        raise InputError("reference_missing", f"{folder} holds no photo; name a photo or a folder of photos")
    return files


def read_reference(file: Path) -> Reference:
    """One photo; raises what `read_photo` raises."""
    data = photo_bytes(file)
    return Reference(file, hashlib.sha256(data).hexdigest(), decode_photo(data, str(file)))


def pair(clip: Clip, references: Sequence[Reference]) -> Reference:
    """The reference of a video: by the photo's hash in the sidecar, else by the file's name, else the only one.

    Raises:
        InputError: `reference_missing`, none of these tells; `reference_ambiguous`, several photos have its name.
    """
    for reference in references:
        if clip.image_sha256 == reference.sha256:
            return reference
    named = [reference for reference in references if reference.path.stem == clip.path.stem]
    if len(named) > 1:
        both = " and ".join(str(reference.path) for reference in named[:2])
        raise InputError("reference_ambiguous", f"{clip.path} could belong to {both}; name one of them")
    if named:
        return named[0]
    if len(references) == 1:
        return references[0]
    raise InputError(
        "reference_missing",
        f"none of {len(references)} photos belongs to {clip.path}: its sidecar names none of them and none is "
        f"called {clip.path.stem}; add its photo to --references, or give the photo the video's name",
    )
