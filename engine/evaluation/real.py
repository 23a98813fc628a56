"""Real pictures to hold generated ones against: a folder of photos and videos, or one of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.evaluation.faces import face_crops, face_of_picture, faces_of_clip
from fantasyid_engine.evaluation.frames import read_frames
from fantasyid_engine.evaluation.frechet import Features
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.evaluation.references import PHOTOS
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.photo import read_photo
from fantasyid_engine.video.formats import CONTAINERS


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """Features [N, E] of real faces, where they are from, and what to know of them."""

    name: str
    features: Features
    notes: tuple[str, ...]


def read_real(
    path: Path, instruments: Instruments, *, on_file: Callable[[int, int], None] = lambda done, total: None
) -> Real:
    """Every photo and every frame of every video below `path`; those without a face are left out, and counted.

    Raises:
        InputError: `real_missing`, there is nothing, or no face in it; what reading photos and videos raises.
    """
    files = find_real(path)
    parts, without = [], 0
    for done, file in enumerate(files, start=1):
        frames, boxes = _faces(file, instruments)
        crops = face_crops(frames, boxes, instruments.features.crop_size)
        if len(crops):
            parts.append(instruments.features.features(crops))
        without += len(boxes) - len(crops)
        on_file(done, len(files))
    if not parts:
        raise InputError(
            "real_missing", f"no face found in {path} ({instruments.detector.name}); name pictures that show faces"
        )
    notes = (f"--real: {without} pictures without a face were left out",) if without else ()
    return Real(one_line(str(path)), np.concatenate(parts), notes)


def find_real(path: Path) -> list[Path]:
    """Photos and videos at or below `path`, in order of their paths.

    Raises:
        InputError: `real_missing`, there are none.
    """
    kinds = (*PHOTOS, *CONTAINERS)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    files = [file for file in files if file.suffix.lower() in kinds and not file.name.startswith(".")]
    if not files:
        raise InputError("real_missing", f"no photo and no video at {path}; name a folder of pictures or videos")
    return files


def _faces(file: Path, instruments: Instruments) -> tuple[NDArray[np.uint8], Sequence[FaceBox | None]]:
    """A video or a photo -> frames [F, H, W, 3] and the face of each."""
    if file.suffix.lower() in CONTAINERS:
        frames = read_frames(file)
        return frames, faces_of_clip(frames, instruments.detector)
    picture = read_photo(file)
    return picture[None], [face_of_picture(picture, instruments.detector)]
