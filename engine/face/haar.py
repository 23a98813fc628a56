"""OpenCV's cascades: the detector that needs no download.

Boxes are squares as the frontal cascades draw them: from above the brows to the chin, ears outside.
Source: Viola and Jones 2001, Lienhart and Maydt 2002, as shipped with OpenCV 4.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fantasyid_engine.face.detect import FaceBox, Photo


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
