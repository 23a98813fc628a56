import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from fantasyid_engine.errors import ConfigError, EngineError, WeightsError
from fantasyid_engine.evaluation.instruments import photo_instruments
from fantasyid_engine.evaluation.onnx_networks import ArcFaceOnnx, OnnxFeatures, arcface_square
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.haar import HaarDetector
from tests.evaluation.onnx_files import plain_outputs, write_network
from tests.face.pictures import portrait


def test_embeddings_against_numpy(tmp_path: Path) -> None:
    embedder = ArcFaceOnnx.open(write_network(tmp_path / "arc.onnx"))
    picture, boxes = portrait(), [FaceBox(82, 92, 242, 242, None), FaceBox(60, 80, 200, 220, None)]
    found = embedder.embed([picture, picture], boxes)
    crops = np.stack([crop_head(picture, arcface_square(box), 112, scale=1.0) for box in boxes])
    plain = plain_outputs(crops)
    np.testing.assert_allclose(found, plain / np.linalg.norm(plain, axis=1, keepdims=True), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert (embedder.name, embedder.crop_size) == ("arc.onnx", 112)
    np.testing.assert_allclose(embedder.features(crops), plain, atol=1e-4)


def test_eyes_land_on_the_template() -> None:
    """The portrait's eyes are at (162, 187) and (238, 187); ArcFace has them at (38.3, 51.7) and (73.5, 51.5)."""
    (box,) = HaarDetector().detect(portrait())
    square = arcface_square(box)
    places = [((x - square.left) * 112 / square.width, (187 - square.top) * 112 / square.height) for x in (162, 238)]
    assert places[0] == pytest.approx((38.3, 51.7), abs=4)
    assert places[1] == pytest.approx((73.5, 51.5), abs=4)


@pytest.mark.parametrize(("batch", "count"), [("N", 40), (1, 3), (4, 6), ("N", 0)])
def test_any_number_of_crops(tmp_path: Path, batch: int | str, count: int) -> None:
    embedder = ArcFaceOnnx.open(write_network(tmp_path / "arc.onnx", batch=batch))
    crops = np.random.default_rng(1).integers(0, 256, (count, 112, 112, 3), dtype=np.uint8)
    found = embedder.features(crops)
    assert len(found) == count and found.dtype == np.float64
    if count:
        np.testing.assert_allclose(found, plain_outputs(crops), atol=1e-4)
    assert len(embedder.embed([], [])) == 0


def test_instruments(tmp_path: Path) -> None:
    arcface = write_network(tmp_path / "arc.onnx")
    alone = photo_instruments(arcface, None)
    assert alone.features is alone.embedder and alone.observer is None and alone.detector.name == "haar"
    both = photo_instruments(arcface, write_network(tmp_path / "inception.onnx", side=299, out=5))
    assert (both.features.name, both.features.crop_size) == ("inception.onnx", 299)
    assert both.features.features(np.zeros((2, 299, 299, 3), np.uint8)).shape == (2, 5)


def refused(path: Path, *says: str, error: type[EngineError] = WeightsError) -> None:
    with pytest.raises(error) as caught:
        ArcFaceOnnx.open(path)
    assert str(caught.value).isprintable()
    for part in (path.name, *says):
        assert part in str(caught.value)


def test_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.onnx", "no ONNX file at")
    refused(tmp_path, "no ONNX file at")
    for name, content in (("empty", b""), ("text", b"hello\nyou"), ("zeros", bytes(100))):
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name)
    whole = write_network(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "cut.onnx", "cannot be loaded")
    refused(write_network(tmp_path / "side.onnx", side=96), "takes x ['N', 3, 96, 96]", "[N, 3, 112, 112]")
    refused(write_network(tmp_path / "grey.onnx", channels=1), "takes x ['N', 1, 112, 112]")
    refused(write_network(tmp_path / "maps.onnx", flat=False), "gives ['N', 3, 4, 4], not [N, E]")
    refused(write_network(tmp_path / "half.onnx", kind=TensorProto.FLOAT16), "takes tensor(float16)")
    with pytest.raises(WeightsError, match=r"not one input \[N, 3, 299, 299\]"):
        OnnxFeatures.open(write_network(tmp_path / "arc.onnx"))


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    path = write_network(tmp_path / "nan.onnx", seed=0)
    network = ArcFaceOnnx.open(path).network
    with pytest.raises(WeightsError, match=r"nan\.onnx gives \[1, 12\], or numbers that are not finite"):
        network._batch("x", np.full((1, 3, 112, 112), np.nan, np.float32))
    with pytest.raises(WeightsError, match=r"nan\.onnx cannot be run"):
        network._batch("x", np.zeros((1, 3, 5, 5), np.float32))


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(tmp_path / "arc.onnx", "pip install 'fantasyid-engine[evaluation]'", error=ConfigError)
