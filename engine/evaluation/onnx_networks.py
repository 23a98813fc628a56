"""Networks for real faces that the user brings as ONNX files, run by ONNX Runtime on the CPU.

ArcFace      in [N, 3, 112, 112] RGB, (x - 127.5) / 127.5; out [N, E]      as insightface's recognition models
features     in [N, 3, 299, 299] RGB, x / 127.5 - 1;       out [N, E]      InceptionV3 up to its last pooling, as a rule

Crops for ArcFace come from boxes, not from landmarks: the square is cut where the eyes of an upright face land on those
of ArcFace's template, as OpenCV's boxes have them (see `face.crop`). A tilted or turned head is not straightened, so
similarities are a little lower than with an aligning detector, for references and frames alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import ConfigError, WeightsError, one_line
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox

BATCH = 32
ARCFACE_SIDE, INCEPTION_SIDE = 112, 299
ARCFACE_EYES = (55.9, 51.6, 35.2)
"""Middle between the eyes (x, y) and their distance, in pixels of ArcFace's template."""
BOX_EYES = (0.49, 0.385, 0.36)
"""The same in a Haar box, in sides of the box; see `face.crop`."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxNetwork:
    """One input [N, 3, S, S], one output [N, E]. Safe from several threads."""

    path: Path
    side: int
    session: Any

    @classmethod
    def open(cls, path: Path, side: int) -> "OnnxNetwork":
        """Reads the file and checks what goes in and out.

        Raises:
            WeightsError: it is missing, no ONNX network, or takes or gives other shapes.
            ConfigError: ONNX Runtime is not installed.
        """
        try:
            import onnxruntime
        except ImportError:
            raise ConfigError(f"{path} needs ONNX Runtime; pip install 'fantasyid-engine[evaluation]'") from None
        if not path.is_file():
            raise WeightsError(f"no ONNX file at {path}; name the file of the network")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what is worth saying comes as an exception
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes, which it does not export, and RuntimeError
            raise WeightsError(f"{path} cannot be loaded as an ONNX network: {_first_line(error)}") from None
        network = cls(path, side, session)
        network._check()
        return network

    def _check(self) -> None:
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        shape = inputs[0].shape if len(inputs) == 1 else None
        wanted = (3, self.side, self.side)
        if shape is None or len(shape) != 4 or not all(_fits(a, b) for a, b in zip(shape[1:], wanted, strict=True)):
            found = ", ".join(f"{i.name} {i.shape}" for i in inputs) or "nothing"
            raise WeightsError(f"{self.path} takes {one_line(found)}, not one input [N, 3, {self.side}, {self.side}]")
        if inputs[0].type != "tensor(float)":
            raise WeightsError(f"{self.path} takes {inputs[0].type}, not tensor(float)")
        if len(outputs[0].shape) != 2:
            raise WeightsError(f"{self.path} gives {one_line(str(outputs[0].shape))}, not [N, E]")

    def run(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB crops [N, S, S, 3] -> [N, E], of values in [-1, 1].

        Raises:
            WeightsError: the network fails, or gives other shapes than it says, or numbers that are not finite.
        """
        if not len(crops):
            return np.zeros((0, 1), np.float32)
        (source,) = self.session.get_inputs()
        step = source.shape[0] if isinstance(source.shape[0], int) else BATCH
        parts = []
        for start in range(0, len(crops), step):
            batch = crops[start : start + step].transpose(0, 3, 1, 2).astype(np.float32)
            count = len(batch)
            if isinstance(source.shape[0], int):  # a fixed batch takes no fewer
                batch = np.concatenate([batch, np.repeat(batch[-1:], step - count, axis=0)])
            parts.append(self._batch(source.name, batch / np.float32(127.5) - 1)[:count])
        return np.concatenate(parts)

    def _batch(self, source: str, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            found = np.asarray(self.session.run(None, {source: batch})[0], dtype=np.float32)
        except Exception as error:
            raise WeightsError(f"{self.path} cannot be run: {_first_line(error)}") from None
        if found.ndim != 2 or len(found) != len(batch) or not np.isfinite(found).all():
            raise WeightsError(f"{self.path} gives {list(found.shape)}, or numbers that are not finite, not [N, E]")
        return found


@dataclass(frozen=True, slots=True, eq=False)
class ArcFaceOnnx:
    """A face embedder in an ONNX file; its raw outputs also serve as features where no other network is there."""

    network: OnnxNetwork
    crop_size: int = ARCFACE_SIDE

    @classmethod
    def open(cls, path: Path) -> "ArcFaceOnnx":
        """See `OnnxNetwork.open`."""
        return cls(OnnxNetwork.open(path, ARCFACE_SIDE))

    @property
    def name(self) -> str:
        """That of its file."""
        return one_line(self.network.path.name)

    def embed(self, pictures: Sequence[NDArray[np.uint8]], boxes: Sequence[FaceBox]) -> NDArray[np.float32]:
        """RGB pictures [H, W, 3] and a Haar box in each -> [N, E] of unit length."""
        crops = [
            crop_head(picture, arcface_square(box), ARCFACE_SIDE, scale=1.0)
            for picture, box in zip(pictures, boxes, strict=True)
        ]
        found = self.network.run(np.stack(crops)) if crops else np.zeros((0, 1), np.float32)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """RGB crops [N, 112, 112, 3] -> [N, E], as the network gives them."""
        return self.network.run(crops).astype(np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class OnnxFeatures:
    """A network of features in an ONNX file, such as InceptionV3."""

    network: OnnxNetwork
    crop_size: int = INCEPTION_SIDE

    @classmethod
    def open(cls, path: Path) -> "OnnxFeatures":
        """See `OnnxNetwork.open`."""
        return cls(OnnxNetwork.open(path, INCEPTION_SIDE))

    @property
    def name(self) -> str:
        """That of its file."""
        return one_line(self.network.path.name)

    def features(self, crops: NDArray[np.uint8]) -> NDArray[np.float64]:
        """RGB crops [N, 299, 299, 3] -> [N, E]."""
        return self.network.run(crops).astype(np.float64)


def arcface_square(box: FaceBox) -> FaceBox:
    """A Haar box -> the square whose 112 x 112 picture has the eyes of an upright face where ArcFace expects them."""
    b = (box.width + box.height) / 2
    x, y, apart = ARCFACE_EYES
    pixel = BOX_EYES[2] * b / apart
    left = box.left + BOX_EYES[0] * box.width - x * pixel
    top = box.top + BOX_EYES[1] * box.height - y * pixel
    return FaceBox(left, top, ARCFACE_SIDE * pixel, ARCFACE_SIDE * pixel, box.confidence)


def runtime_version() -> str:
    """Of ONNX Runtime, which must be installed."""
    import onnxruntime

    return onnxruntime.__version__


def _fits(size: object, wanted: int) -> bool:
    return size == wanted or not isinstance(size, int)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return one_line(lines[0])[:200] if lines else type(error).__name__
