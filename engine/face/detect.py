"""Faces in a photo: a detector behind a small interface, and the ladder of pictures in which it is asked to look.

    as it is -> with a border, for faces at the edge -> leniently, for faces that are small, dark or tilted

Boxes are squares as OpenCV's frontal cascades draw them: from above the brows to the chin, ears outside.
Source of the cascades: Viola and Jones 2001, Lienhart and Maydt 2002, as shipped with OpenCV 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.face.border import with_border

Photo = NDArray[np.uint8]

MIN_FACE = 48
"""Pixels of the photo; a crop of a smaller face would be more than ten times enlarged."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where a face is, in pixels of the photo (edges may lie outside it).

    `confidence` is on the detector's own scale, None where it gives none.
    """

    left: float
    top: float
    width: float
    height: float
    confidence: float | None

    @property
    def area(self) -> float:
        """Pixels."""
        return self.width * self.height


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
class HaarDetector:
    """OpenCV's frontal cascade `alt2`, of those it ships the one with the fewest false faces.

    Strictly: at least five overlapping windows of 40 pixels or more. Leniently: two of 24, but then an eye must be
    found in the upper half of the face, as two windows agree on many a wallpaper; where nothing is found so, the
    histogram is equalised, which brings out dark faces. `confidence` is the number of windows. Needs no download; most
    faces that are tilted by over 20 degrees are missed.
    """

    name: str = "haar"

    def detect(self, photo: Photo, *, lenient: bool = False) -> list[FaceBox]:
        """See `FaceDetector`. Cascades are not safe with threads, so each call loads its own (7 ms)."""
        import cv2

        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        face = _cascade("haarcascade_frontalface_alt2.xml")
        if not lenient:
            return _windows(face, grey, neighbours=5, smallest=40)
        eye = _cascade("haarcascade_eye.xml")
        for picture in (grey, cv2.equalizeHist(grey)):
            boxes = [box for box in _windows(face, picture, neighbours=2, smallest=24) if _has_eye(eye, picture, box)]
            if boxes:
                return boxes
        return []


def _cascade(file: str) -> Any:
    import cv2
    from cv2.data import haarcascades

    return cv2.CascadeClassifier(str(Path(haarcascades) / file))


def _windows(cascade: Any, grey: Any, neighbours: int, smallest: int) -> list[FaceBox]:
    found, counts = cascade.detectMultiScale2(grey, 1.1, neighbours, minSize=(smallest, smallest))
    return [
        FaceBox(float(left), float(top), float(width), float(height), float(count))
        for (left, top, width, height), count in zip(found, counts, strict=True)
    ]


def _has_eye(cascade: Any, grey: Any, box: FaceBox) -> bool:
    import cv2

    left, top, width = int(box.left), int(box.top), int(box.width)
    upper = grey[top + width // 5 : top + width * 3 // 5, left : left + width]
    scale = max(1.0, 120 / width)  # the cascade's own window has 20 pixels, an eye is a quarter of a face
    smallest, largest = int(0.15 * width * scale), int(0.45 * width * scale)
    upper = cv2.resize(upper, None, fx=scale, fy=scale)
    return len(cascade.detectMultiScale(upper, 1.1, 3, minSize=(smallest,) * 2, maxSize=(largest,) * 2)) > 0


def find_faces(detector: FaceDetector, photo: Photo, name: str) -> list[FaceBox]:
    """Faces of a photo [H, W, 3], largest first, from the first rung of the ladder that shows any.

    Raises:
        InputError: `face_not_found`, with what was tried.
    """
    name = one_line(name)
    tried = []
    for rung in _ladder(photo):
        found = detector.detect(rung.picture, lenient=rung.lenient)
        if found:
            return sorted((rung.in_photo(box) for box in found), key=lambda box: -box.area)
        tried.append(rung.label)
    raise InputError(
        "face_not_found",
        f"no face found in {name} ({detector.name}; tried {', '.join(tried)}); "
        "use a photo that shows one face from the front, upright and well lit",
    )


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
        left, top = (box.left - self.border) / x, (box.top - self.border) / y
        return FaceBox(left, top, box.width / x, box.height / y, box.confidence)


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


def pick_face(faces: list[FaceBox], index: int | None, name: str, *, smallest: int = MIN_FACE) -> FaceBox:
    """One of `faces` (largest first, not empty): number `index`, counted from 1, or the largest.

    Raises:
        InputError: `face_index` when there is no such face, `face_too_small` when it has under `smallest`
            pixels.
    """
    name = one_line(name)
    number = 1 if index is None else index
    if not 1 <= number <= len(faces):
        choice = f"1 to {len(faces)}" if len(faces) > 1 else "1"
        raise InputError(
            "face_index",
            f"face {number} was asked for, but {name} shows {len(faces)}; choose {choice} (1 is the largest)",
        )
    face = faces[number - 1]
    if min(face.width, face.height) < smallest:
        raise InputError(
            "face_too_small",
            f"face {number} in {name} is {int(face.width)} x {int(face.height)} pixels, under {smallest}; "
            "use a photo that is larger or taken nearer",
        )
    return face
