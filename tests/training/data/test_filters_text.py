"""Detectors of text: the fallback's rates on drawn clips, and how PaddleOCR's is called where it is installed."""

import sys
from collections import Counter
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.data.filters import paddle_text
from fantasyid_engine.training.data.filters.gradient_text import GradientText
from fantasyid_engine.training.data.filters.paddle_text import open_text_detector
from fantasyid_engine.training.data.filters.subtitles import Subtitles, TextLine
from fantasyid_engine.training.data.frames import Frames
from tests.training.data.filter_pictures import STYLES, Case, cases, moving_signs, subtitled
from tests.training.data.manifest_clips import clip


def rates(detector: Any, made: tuple[Case, ...]) -> tuple[dict[str, float], float]:
    """Share of clips with each style of subtitle that are found, and of clips without one that are."""
    found, all_of = Counter(), Counter()
    for case in made:
        all_of[case.style] += 1
        found[case.style] += Subtitles(detector).judge(clip(), case.frames) is not None
    return {style: found[style] / all_of[style] for style in STYLES}, found[None] / all_of[None]


def test_fallback_finds_drawn_subtitles() -> None:
    """96 clips here; the rates on 360 others are in the docstring of `gradient_text`."""
    hits, false_alarms = rates(GradientText(), cases(1, 16, 32))
    assert hits["box"] >= 0.95 and hits["outline"] >= 0.85 and hits["bare"] >= 0.75
    assert false_alarms <= 0.05


def test_fallback_leaves_signs_that_the_camera_passes() -> None:
    signs = moving_signs(1, 24)
    assert sum(Subtitles(GradientText()).judge(clip(), frames) is not None for frames in signs) <= 3


@pytest.mark.parametrize("height", [240, 480, 1080])
def test_fallback_in_any_size(height: int) -> None:
    """What it gives is where the text is, in pixels of the picture it got."""
    frames = np.full((1, height, height * 3 // 2, 3), 70, np.uint8)
    drawn = subtitled(frames, "box", np.random.default_rng(3))[0]
    rows, columns = np.nonzero((drawn != 70).any(axis=2))
    found = GradientText().lines(drawn)
    assert found
    left, right = min(line.left for line in found), max(line.right for line in found)
    top, bottom = min(line.top for line in found), max(line.bottom for line in found)
    near = 0.03 * height
    assert abs(left - columns.min()) < near and abs(right - columns.max()) < near
    assert abs(top - rows.min()) < near and abs(bottom - rows.max()) < near


def test_fallback_in_tiny_pictures() -> None:
    assert GradientText().lines(np.zeros((1, 1, 3), np.uint8)) == []
    assert GradientText().lines(np.zeros((5, 3, 3), np.uint8)) == []


CORNERS = [[[10.0, 50.0], [90.0, 52.0], [89.0, 60.0], [9.0, 58.0]]]


def stand_in(monkeypatch: pytest.MonkeyPatch, package: str, **names: Any) -> None:
    module = ModuleType(package)
    module.__spec__ = SimpleNamespace(name=package)  # pyright: ignore[reportAttributeAccessIssue]
    for name, value in names.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, package, module)


def reads_blue(picture: Frames) -> list[Any]:
    """Finds a line where blue comes first, as PaddleOCR expects it."""
    return CORNERS if picture[0, 0].tolist() == [255, 0, 0] else []


def assert_reads(detector: Any) -> None:
    picture = np.zeros((64, 100, 3), np.uint8)
    assert detector.lines(picture) == []
    picture[..., 2] = 255
    assert detector.lines(picture) == [TextLine(9.0, 50.0, 90.0, 60.0)]


def test_paddleocr(monkeypatch: pytest.MonkeyPatch) -> None:
    class TextDetection:
        def __init__(self, *, model_name: str) -> None:
            assert model_name == paddle_text.MODEL

        def predict(self, input: Frames) -> list[Any]:  # its own name
            return [SimpleNamespace(json={"res": {"dt_polys": reads_blue(input), "dt_scores": []}})]

    stand_in(monkeypatch, "paddleocr", TextDetection=TextDetection)
    assert open_text_detector().name == "PaddleOCR"
    assert_reads(open_text_detector("paddleocr"))


def test_rapidocr(monkeypatch: pytest.MonkeyPatch) -> None:
    class RapidOCR:
        def __init__(self, *, params: dict[str, Any]) -> None:
            assert params["Global.use_rec"] is False

        def __call__(self, picture: Frames) -> Any:
            found = reads_blue(picture)
            return SimpleNamespace(boxes=np.array(found) if found else None)

    monkeypatch.setitem(sys.modules, "paddleocr", None)
    stand_in(monkeypatch, "rapidocr", RapidOCR=RapidOCR)
    assert_reads(open_text_detector("rapidocr"))


@pytest.mark.skipif(find_spec("rapidocr") is None, reason="RapidOCR is not installed")
def test_rapidocr_itself() -> None:
    judge = Subtitles(open_text_detector("rapidocr")).judge
    without, with_one = cases(1, 16, 32)[:2]
    assert judge(clip(), without.frames) is None
    assert judge(clip(), with_one.frames) is not None


def test_without_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle_text, "find_spec", lambda name: None)
    assert open_text_detector() == GradientText()
    assert open_text_detector("gradients") == GradientText()


@pytest.mark.parametrize(
    ("package", "install"), [("paddleocr", "paddleocr paddlepaddle"), ("rapidocr", r"'fantasyid-engine\[subtitles\]'")]
)
def test_not_installed(package: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"is not installed whole .*; pip install {install}$"):
        open_text_detector(package)


def test_not_able_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**settings: Any) -> None:
        raise RuntimeError("no such model\non this line")

    stand_in(monkeypatch, "paddleocr", TextDetection=fails)
    with pytest.raises(ConfigError, match="PaddleOCR cannot be run: RuntimeError: no such model") as caught:
        open_text_detector("paddleocr")
    assert str(caught.value).isprintable()


def test_unknown_detector() -> None:
    with pytest.raises(ValueError, match="it must be auto or one of paddleocr, rapidocr, gradients"):
        open_text_detector("tesseract")
