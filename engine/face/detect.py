"""Faces in a photo: a detector behind a small interface, and the ladder of pictures in which it is asked to look.

as it is -> with a border, for faces at the edge -> leniently, for faces that are small, dark or tilted
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face.border import with_border
from fantasyid_engine.request import Choice

Photo = NDArray[np.uint8]
Landmarks = tuple[tuple[float, float], ...]

MIN_FACE = 48
"""Pixels of the photo; a crop of a smaller face would be more than ten times enlarged."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where a face is, in pixels of the photo (edges may lie outside it).

    `confidence` is on the detector's own scale, None where it gives none. `landmarks` are (x, y) of left eye, right
    eye, nose, left and right corner of the mouth, left and right as seen in the photo; None from a detector of boxes.
    """

    left: float
    top: float
    width: float
    height: float
    confidence: float | None
    landmarks: Landmarks | None = None

    @property
    def area(self) -> float:
        """Pixels."""
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        """Its (x, y)."""
        return self.left + self.width / 2, self.top + self.height / 2

    def scaled(self, x: float, y: float, *, border: float = 0) -> "FaceBox":
        """The same face where the picture loses a border at its left and top, and is then scaled by `x` and `y`."""
        return FaceBox(
            left=(self.left - border) * x,
            top=(self.top - border) * y,
            width=self.width * x,
            height=self.height * y,
            confidence=self.confidence,
            landmarks=self.landmarks and tuple(((u - border) * x, (v - border) * y) for u, v in self.landmarks),
        )


class FaceDetector(Protocol):
    """Finds faces in one picture. An object may be used from several threads at once."""

    @property
    def name(self) -> str:
        """What messages and records call it."""
        ...

    def detect(self, photo: Photo, *, lenient: bool = False) -> list[FaceBox]:
        """All faces in an RGB picture [H, W, 3]; `lenient` accepts weaker and smaller ones."""
        ...


@dataclass(frozen=True, slots=True)
class Sighting:
    """The faces of a photo, largest first, at least one; who found them, and in what picture of it (`1024 padded`)."""

    faces: list[FaceBox]
    detector: str
    rung: str


def find_faces(detector: FaceDetector, photo: Photo, name: str) -> Sighting:
    """Faces of a photo [H, W, 3] from the first rung of the ladder that shows any.

    Raises:
        InputError: `face_not_found`, with what was tried.
    """
    name = one_line(name)
    tried = []
    for rung in _ladder(photo):
        found = detector.detect(rung.picture, lenient=rung.lenient)
        if found:
            return Sighting(by_size(map(rung.in_photo, found)), detector.name, rung.label)
        tried.append(rung.label)
    raise InputError(
        "face_not_found",
        f"no face found in {name} ({detector.name}; tried {', '.join(tried)}); "
        "use a photo that shows one face from the front, upright and well lit",
    )


def by_size(faces: Iterable[FaceBox]) -> list[FaceBox]:
    """The largest first."""
    return sorted(faces, key=lambda face: -face.area)


@dataclass(frozen=True, slots=True)
class _Rung:
    """A picture of the photo: scaled by `scale` (x, y), then moved by `border` pixels right and down."""

    label: str
    picture: Photo
    scale: tuple[float, float]
    border: int
    lenient: bool

    def in_photo(self, box: FaceBox) -> FaceBox:
        x, y = self.scale
        return box.scaled(1 / x, 1 / y, border=self.border)


def _ladder(photo: Photo) -> Iterator[_Rung]:
    yield _rung(photo, "")
    yield _rung(photo, "padded", border=0.25)
    yield _rung(photo, "with smaller windows", border=0.25, enlarge=2.0, lenient=True)


def _rung(photo: Photo, how: str, border: float = 0.0, enlarge: float = 1.0, lenient: bool = False) -> _Rung:
    """Long side at most 1024, as the released pipeline has it; `border` as a share of the long side."""
    height, width = photo.shape[:2]
    factor = min(1024 / max(width, height), enlarge)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    picture = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)) if factor != 1 else photo
    pixels = round(border * max(size))
    if pixels:
        picture = with_border(picture, -pixels, -pixels, size[0] + pixels, size[1] + pixels)
    return _Rung(f"{max(size)} {how}".strip(), picture, (size[0] / width, size[1] / height), pixels, lenient)


def pick_face(found: Sighting, choice: Choice, photo: Photo, name: str, *, smallest: int = MIN_FACE) -> FaceBox:
    """One of the faces of a photo [H, W, 3].

    Raises:
        InputError: `face_index` when there is no such face, `face_too_small` when it has under `smallest`
            pixels.
    """
    name, faces = one_line(name), found.faces
    if choice == "center":
        middle = photo.shape[1] / 2, photo.shape[0] / 2
        number = 1 + min(range(len(faces)), key=lambda index: math.dist(faces[index].centre, middle))
    else:
        number = choice if isinstance(choice, int) else 1
    if not 1 <= number <= len(faces):
        choices = f"1 to {len(faces)}" if len(faces) > 1 else "1"
        raise InputError(
            "face_index",
            f"face {number} was asked for, but {name} shows {len(faces)}; choose {choices} (1 is the largest)",
        )
    face = faces[number - 1]
    if min(face.width, face.height) < smallest:
        raise InputError(
            "face_too_small",
            f"face {number} in {name} is {int(face.width)} x {int(face.height)} pixels, under {smallest}; "
            "use a photo that is larger or taken nearer",
        )
    return face
