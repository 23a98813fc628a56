"""Faces by OpenCV's detector, with a network that takes red for a face; and with YuNet where there is one."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.training.data.faces import FaceFinder, FoundFace, YuNetFinder
from tests.goldens import require_reference
from tests.training.data.filter_networks import POINTS, write_red_finder


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> FaceFinder:
    return YuNetFinder.open(write_red_finder(tmp_path_factory.mktemp("networks") / "red.onnx"))


def red(height: int, width: int, *places: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """A grey picture with red from (top, left) on, of so many pixels and such a level."""
    picture = np.full((height, width, 3), 40, np.uint8)
    for top, left, side, level in places:
        picture[top : top + side, left : left + side] = (level, 0, 0)
    return picture


def assert_is(face: FoundFace, left: float, top: float, side: float) -> None:
    box = face.box
    assert (box.left, box.top, box.width, box.height) == pytest.approx((left, top, side, side), abs=1e-3)
    assert face.landmarks.shape == (5, 2) and face.landmarks.dtype == np.float32
    assert np.allclose(face.landmarks, np.array(POINTS) * side + (left, top), atol=1e-2 * side)


def test_box_and_landmarks(finder: FaceFinder) -> None:
    (face,) = finder.find(red(96, 160, (32, 64, 32, 255)))
    assert_is(face, 64, 32, 32)
    assert face.confidence == face.box.confidence == pytest.approx(1, abs=1e-4)
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0] and left_eye[1] < left_mouth[1]


def test_confidence(finder: FaceFinder) -> None:
    found = finder.find(red(64, 128, (0, 0, 32, 180), (32, 64, 32, 230), (0, 96, 32, 100)))
    assert sorted(face.confidence for face in found) == pytest.approx([180 / 255, 230 / 255], abs=1e-3)


def test_large_pictures_come_smaller(finder: FaceFinder) -> None:
    (face,) = finder.find(red(960, 1280, (192, 640, 64, 255)))
    assert_is(face, 640, 192, 64)
    assert face.confidence == pytest.approx(1, abs=1e-4)


def test_odd_sizes(finder: FaceFinder) -> None:
    (face,) = finder.find(red(70, 101, (32, 32, 32, 255)))
    assert_is(face, 32, 32, 32)


def test_nobody(finder: FaceFinder) -> None:
    assert finder.find(red(64, 64)) == []
    assert finder.find(red(1, 1)) == []


def test_threads_do_not_mix(finder: FaceFinder) -> None:
    """The detector is told the size of a picture before it gets it."""
    sizes = [(64 + 32 * n, 96 + 32 * n) for n in range(4)]
    counts: list[int] = []

    def look(size: tuple[int, int]) -> None:
        for _ in range(20):
            counts.append(len(finder.find(red(*size, (32, 32, 32, 255)))))

    threads = [threading.Thread(target=look, args=(size,)) for size in sizes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 80


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"no file at .*yunet\.onnx; name the ONNX file of YuNet"):
        YuNetFinder.open(tmp_path / "yunet.onnx")


@pytest.mark.parametrize("data", [b"", b"garbage" * 100])
def test_no_network(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.onnx cannot be run as YuNet: ") as caught:
        YuNetFinder.open(tmp_path / "x.onnx")
    assert str(caught.value).isprintable() and len(str(caught.value)) <= 300


def test_another_network(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    kind, helper = onnx.TensorProto.FLOAT, onnx.helper
    values = [helper.make_tensor_value_info(name, kind, [1, 3, 64, 64]) for name in ("input", "output")]
    graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], "x", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8), tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match=r"x\.onnx cannot be run as YuNet: "):
        YuNetFinder.open(tmp_path / "x.onnx")


@pytest.mark.weights
@pytest.mark.reference_data
def test_a_portrait() -> None:
    path = os.environ.get("FANTASYID_YUNET")
    if not path:
        pytest.skip("no YuNet: set FANTASYID_YUNET to its ONNX file")
    with Image.open(require_reference() / "faces" / "newton.jpg") as image:
        picture = np.array(image.convert("RGB"))
    for seen in (picture, picture[:, ::-1].copy()):
        face = YuNetFinder.open(Path(path)).find(seen)[0]
        left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
        assert left_eye[0] < nose[0] < right_eye[0] and left_mouth[0] < right_mouth[0]
        assert left_eye[1] < nose[1] < left_mouth[1]
