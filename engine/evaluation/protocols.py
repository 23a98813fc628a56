"""What the measures look with, each behind a small interface; an object may be used for one clip after another.

N pictures or crops, S side of a crop in pixels, E numbers a picture, F frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.face.detect import FaceBox, FaceDetector


class FaceEmbedder(Protocol):
    """Turns a face into a vector that says who it is."""

    @property
    def name(self) -> str:
        """What tables and records call it."""
        ...

    def embed(self, pictures: Sequence[NDArray[np.uint8]], boxes: Sequence[FaceBox]) -> NDArray[np.float32]:
        """RGB pictures [H, W, 3] and a face in each -> [N, E], every row of unit length."""
        ...


class FeatureNetwork(Protocol):
    """Describes crops for the Frechet distance, which is only comparable between uses of one network."""

    @property
    def name(self) -> str:
        """What the distance is labelled with."""
        ...

    @property
    def crop_size(self) -> int:
        """S, the side of the crops that it takes."""
        ...

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """RGB crops [N, S, S, 3] -> [N, E]."""
        ...


class Observer(Protocol):
    """Reads from a clip what a prompt can ask for."""

    @property
    def name(self) -> str:
        """What tables and records call it."""
        ...

    def attributes(self, frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None]) -> dict[str, str]:
        """RGB frames [F, H, W, 3] and the face in each -> the value of each attribute that it can tell."""
        ...


@dataclass(frozen=True, slots=True)
class Instruments:
    """All that a measurement looks with; without an observer, adherence to the prompt is not measured."""

    detector: FaceDetector
    embedder: FaceEmbedder
    features: FeatureNetwork
    observer: Observer | None
