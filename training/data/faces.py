"""Faces in frames of real video: how probable each is, and five landmarks of it.

Source of the network: YuNet (Wu, Peng and Yu 2023), run by OpenCV's `FaceDetectorYN`. The user brings its ONNX file,
`face_detection_yunet_2023mar.onnx` of OpenCV's model zoo (MIT).
"""

from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import WeightsError, one_line
from fantasyid_engine.face.detect import FaceBox

Picture = NDArray[np.uint8]

LONGEST_SIDE = 640
"""Pixels of the picture the network is given: about the size it was trained at, and a bound on its time."""
LEAST_CONFIDENCE = 0.5
"""Of what counts as a face at all; OpenCV's demo has 0.9, InsightFace's detectors 0.5."""
SAME_FACE = 0.3
"""Intersection over union from which two boxes are of one face, as in OpenCV's demo."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """One face of a picture.

    box         pixels of the picture
    confidence  a probability, in [0, 1]
    landmarks   [5, 2] float32, pixels (x, y): left eye, right eye, nose tip, left and right corner of the mouth; left
                and right are those of the picture, of a face that is upright
    """

    box: FaceBox
    confidence: float
    landmarks: NDArray[np.float32]


class FaceFinder(Protocol):
    """Finds faces with landmarks, and says how probable each is. An object may be used from several threads at once.

    A detector whose confidence is no probability (`HaarDetector` counts windows) is no `FaceFinder`.
    """

    @property
    def name(self) -> str:
        """What messages and records call it."""
        ...

    def find(self, picture: Picture) -> list[FoundFace]:
        """All faces in an RGB picture [H, W, 3], largest first."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class YuNetFinder:
    """OpenCV's detector; it is told each picture's size, so calls take turns.

    Its `confidence` is the geometric mean of two probabilities, that there is a face and how well the box fits.
    """

    name: str
    detector: Any
    turn: Lock

    @classmethod
    def open(cls, path: Path) -> "YuNetFinder":
        """Reads the network's ONNX file.

        Raises:
            WeightsError: it is missing, no ONNX network, or another one.
        """
        import cv2

        if not path.is_file():
            raise WeightsError(one_line(f"no file at {path}; name the ONNX file of YuNet, of OpenCV's model zoo"))
        try:
            detector = cv2.FaceDetectorYN.create(str(path), "", (64, 64), LEAST_CONFIDENCE, SAME_FACE)
            detector.detect(np.zeros((64, 64, 3), np.uint8))  # another network fails here, not at the first video
        except cv2.error as error:
            raise WeightsError(one_line(f"{path} cannot be run as YuNet: {error.err or error}"[:300])) from None
        return cls(f"YuNet ({one_line(path.name)})", detector, Lock())

    def find(self, picture: Picture) -> list[FoundFace]:
        """See `FaceFinder`."""
        import cv2

        height, width = picture.shape[:2]
        scale = min(LONGEST_SIDE / max(height, width), 1.0)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA) if scale < 1 else picture
        with self.turn:
            self.detector.setInputSize(size)
            _, rows = self.detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        stretch = np.array([width / size[0], height / size[1]], np.float32)
        faces = [_face(row, stretch) for row in (rows if rows is not None else ())]
        return sorted(faces, key=lambda face: -face.box.area)


def _face(row: NDArray[np.float32], stretch: NDArray[np.float32]) -> FoundFace:
    """Left, top, width, height, five points, confidence; OpenCV's right is the person's, so the picture's left."""
    left, top = row[:2] * stretch
    width, height = row[2:4] * stretch
    sure = float(np.clip(row[14], 0, 1))
    box = FaceBox(float(left), float(top), float(width), float(height), sure)
    return FoundFace(box, sure, row[4:14].reshape(5, 2) * stretch)
