"""PaddleOCR's text detector, as the paper has it, from whichever package is installed; else a small fallback.

paddleocr   PaddleOCR itself, on PaddlePaddle; it downloads its network on first use
rapidocr    PaddleOCR's networks run by ONNX Runtime; the wheel holds that of detection (PP-OCRv6 small)
gradients   `gradient_text`: OpenCV alone

Measured with RapidOCR 3.10 on a third of the clips that `gradient_text` was measured on: 59 of 60 with subtitles found
(with an outline 30 of 30, bare 29 of 30), 2 of 60 without taken for subtitled, none of 10 with moving signs.

Networks and code of the first two: Apache-2.0.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import ConfigError, one_line
from fantasyid_engine.training.data.filters.gradient_text import GradientText
from fantasyid_engine.training.data.filters.subtitles import TextDetector, TextLine
from fantasyid_engine.training.data.frames import Frames

MODEL = "PP-OCRv5_mobile_det"
"""Of PaddleOCR's own; its default has 18 times the size and is seven times as slow on a CPU."""

Finder = Callable[[Frames], Iterable[NDArray[Any]]]
"""A BGR picture [H, W, 3] -> the corners of lines of text, [4, 2] pixels (x, y) each."""


@dataclass(frozen=True, slots=True, eq=False)
class PaddleText:
    """A `subtitles.TextDetector`."""

    name: str
    find: Finder

    def lines(self, picture: Frames) -> list[TextLine]:
        """See `subtitles.TextDetector`."""
        found = (np.asarray(corners, float) for corners in self.find(np.ascontiguousarray(picture[..., ::-1])))
        return [TextLine(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()) for corners in found]


def open_text_detector(name: str = "auto") -> TextDetector:
    """A detector by the name it has above, or with "auto" the first of them that is installed.

    Raises:
        ValueError: no such detector.
        ConfigError: its package is not installed, or is not able to run.
    """
    if name == "auto":
        name = next(known for known in _OPENED if known == GradientText().name or find_spec(known))
    if name not in _OPENED:
        raise ValueError(f"text detector is {name!r}; it must be auto or one of {', '.join(_OPENED)}")
    return _OPENED[name]()


def _paddleocr() -> TextDetector:
    return _tried("PaddleOCR", "paddleocr", _paddleocr_corners, install="paddleocr paddlepaddle")


def _rapidocr() -> TextDetector:
    return _tried("RapidOCR", "rapidocr", _rapidocr_corners, install="'fantasyid-engine[subtitles]'")


def _paddleocr_corners(package: Any) -> Finder:
    network = package.TextDetection(model_name=MODEL)
    return lambda picture: [line for page in network.predict(input=picture) for line in page.json["res"]["dt_polys"]]


def _rapidocr_corners(package: Any) -> Finder:
    settings = {"Global.use_cls": False, "Global.use_rec": False, "Global.log_level": "critical"}
    network = package.RapidOCR(params=settings)

    def corners(picture: Frames) -> Iterable[NDArray[Any]]:
        found = network(picture).boxes
        return [] if found is None else found

    return corners


def _tried(name: str, package: str, opened: Callable[[Any], Finder], *, install: str) -> TextDetector:
    try:
        detector = PaddleText(name, opened(import_module(package)))
        detector.lines(np.zeros((64, 64, 3), np.uint8))  # the network is loaded, or downloaded, with the first picture
    except ImportError as error:
        raise ConfigError(one_line(f"{name} is not installed whole ({error}); pip install {install}")) from None
    except Exception as error:  # their own classes
        raise ConfigError(one_line(f"{name} cannot be run: {type(error).__name__}: {error}")[:300]) from None
    return detector


_OPENED: Mapping[str, Callable[[], TextDetector]] = {
    "paddleocr": _paddleocr,
    "rapidocr": _rapidocr,
    GradientText().name: GradientText,
}
