from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from fantasyid_engine.face.detect import FaceBox, FaceDetector, find_faces
from fantasyid_engine.face.retinaface import RetinaFaceDetector
from fantasyid_engine.models.retinaface import RetinaFace
from fantasyid_engine.models.retinaface_boxes import priors
from tests.face.pictures import Picture
from tests.face_goldens import face_weight, picture
from tests.goldens import golden

BACKGROUND = (1.0, 0.0)


@pytest.fixture(scope="module")
def untrained() -> RetinaFace:
    torch.manual_seed(0)
    return RetinaFace().eval().requires_grad_(False)


@pytest.fixture(scope="module")
def seeded() -> RetinaFaceDetector:
    """With the goldens' weights, which make faces of much."""
    network = RetinaFace()
    weights = {key: face_weight("retinaface", key, list(value.shape)) for key, value in network.state_dict().items()}
    network.load_state_dict(weights)
    return RetinaFaceDetector(network.eval().requires_grad_(False))


def golden_photo() -> Picture:
    """The goldens' picture, which is blue, green, red, as RGB."""
    return np.ascontiguousarray(picture("input.retinaface.203x157", 203, 157).numpy()[..., ::-1])


def noise(height: int, width: int, seed: int = 0) -> Picture:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class Answering(RetinaFace):
    """A network that gives one answer, for a picture of one size: rows of (index, box, score, points)."""

    def __init__(self, index: Tensor, box: Tensor, score: Tensor, point: Tensor, count: int) -> None:
        super().__init__()
        self.answer = torch.zeros(1, count, 4), torch.tensor(BACKGROUND).repeat(1, count, 1), torch.zeros(1, count, 10)
        self.answer[0][0, index] = box
        self.answer[1][0, index] = torch.stack([1 - score, score], dim=1)
        self.answer[2][0, index] = point
        self.eval()

    def forward(self, picture_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.answer


def answering(scores: list[float], sizes: tuple[float, ...] = (1.0,)) -> RetinaFaceDetector:
    """Finds a face of each score in a picture of 64 x 64, `sizes` times an anchor of 16 pixels, side by side."""
    count = len(scores)
    box = torch.zeros(count, 4)
    box[:, 2:] = torch.tensor(sizes).log()[:, None] / 0.2
    index = torch.arange(count) * 4  # two anchors a column
    return RetinaFaceDetector(Answering(index, box, torch.tensor(scores), torch.ones(count, 10), len(priors(64, 64))))


def as_rows(faces: list[FaceBox]) -> Tensor:
    """As the goldens have faces: left, top, right, bottom, score, points."""
    rows = []
    for face in faces:
        assert face.landmarks is not None
        box = [face.left, face.top, face.left + face.width, face.top + face.height]
        rows.append([*box, face.confidence, *(value for point in face.landmarks for value in point)])
    return torch.tensor(rows, dtype=torch.float64).view(-1, 15)


def assert_faces(faces: list[FaceBox], expected: Tensor) -> None:
    found = as_rows(faces)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-3
    assert (found[:, 4] - expected[:, 4]).abs().max() < 2e-6


def test_it_is_a_detector(untrained: RetinaFace) -> None:
    detector: FaceDetector = RetinaFaceDetector(untrained)
    assert detector.name == "retinaface"


@pytest.mark.reference_data
def test_faces_of_a_picture(seeded: RetinaFaceDetector) -> None:
    assert_faces(seeded.detect(golden_photo()), golden("faces/retinaface")["203x157.detections"])


@pytest.mark.reference_data
@pytest.mark.parametrize(("lenient", "name"), [(False, "detections"), (True, "detections_0.8")])
def test_faces_of_a_crafted_answer(lenient: bool, name: str) -> None:
    answer = [golden("faces/retinaface")[f"crafted.{part}"] for part in ("index", "loc", "score", "landms")]
    detector = RetinaFaceDetector(Answering(answer[0].long(), *answer[1:], 3360))
    expected = golden("faces/retinaface")[f"crafted.{name}"]
    assert_faces(detector.detect(np.zeros((320, 256, 3), np.uint8), lenient=lenient), expected)


def test_the_same_on_views(seeded: RetinaFaceDetector) -> None:
    photo = golden_photo()
    view = np.asfortranarray(photo[::-1])[::-1]
    view.flags.writeable = False
    assert seeded.detect(view) == seeded.detect(photo) != []


def test_leniently_more_faces_are_seen(seeded: RetinaFaceDetector) -> None:
    strictly, leniently = (seeded.detect(golden_photo(), lenient=lenient) for lenient in (False, True))
    assert leniently[: len(strictly)] == strictly
    assert 0.8 < min(face.confidence or 0 for face in leniently) < 0.97


def test_two_threads_find_what_one_finds(seeded: RetinaFaceDetector) -> None:
    photos = [golden_photo(), golden_photo()[:, ::-1], noise(96, 120)] * 2
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(seeded.detect, photos))
    assert found == [seeded.detect(photo) for photo in photos]
    assert found[0] != found[1]


def test_thresholds_are_exclusive() -> None:
    """In float32, as released: what float32 makes of 0.97 is not above 0.97."""
    above = [float(np.nextafter(np.float32(limit), np.float32(1))) for limit in (0.97, 0.8)]
    detector, photo = answering([above[1], 0.97, 0.8, above[0]]), np.zeros((64, 64, 3), np.uint8)
    strictly, leniently = detector.detect(photo), detector.detect(photo, lenient=True)
    assert [face.confidence for face in strictly] == pytest.approx([above[0]], abs=1e-9)
    assert [face.confidence for face in leniently] == pytest.approx([above[0], 0.97, above[1]], abs=3e-8)


def test_a_face_is_where_its_anchor_is() -> None:
    (face,) = answering([0.99]).detect(np.zeros((64, 64, 3), np.uint8))
    point = 4 + 0.1 * 16
    expected = FaceBox(-4.0, -4.0, 16.0, 16.0, 0.99, ((point, point),) * 5)
    assert as_rows([face])[0].tolist() == pytest.approx(as_rows([expected])[0].tolist(), abs=1e-5)
    assert all(type(value) is float for value in (face.left, face.width, face.confidence))


def test_largest_first_through_the_ladder() -> None:
    """`find_faces` takes the detector as it takes any other."""
    detector = answering([0.98, 0.99], sizes=(2.0, 1.0))
    found = find_faces(detector, np.zeros((64, 64, 3), np.uint8), "p.jpg")
    assert [face.confidence for face in detector.detect(np.zeros((64, 64, 3), np.uint8))] == pytest.approx([0.99, 0.98])
    assert [face.width for face in found.faces] == pytest.approx([32, 16], abs=1e-4)
    assert found.detector == "retinaface" and all(len(face.landmarks or ()) == 5 for face in found.faces)


@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (1, 70), (47, 33)], ids=str)
def test_nothing_is_found_in_tiny_pictures(untrained: RetinaFace, shape: tuple[int, int]) -> None:
    """The network has seen nothing yet: all scores are near one half."""
    detector = RetinaFaceDetector(untrained)
    assert detector.detect(noise(*shape)) == []
    assert detector.detect(noise(*shape), lenient=True) == []


def test_a_call_leaves_no_trace(untrained: RetinaFace) -> None:
    before = {key: value.clone() for key, value in untrained.state_dict().items()}
    RetinaFaceDetector(untrained).detect(noise(40, 40))
    assert all(torch.equal(value, before[key]) for key, value in untrained.state_dict().items())


def test_float32_within_autocast(untrained: RetinaFace) -> None:
    seen: list[torch.dtype] = []
    hook = untrained.fpn.output3.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    with hook, torch.autocast("cpu", dtype=torch.bfloat16):
        RetinaFaceDetector(untrained).detect(noise(40, 40))
    assert seen == [torch.float32]


def test_training_mode_is_refused(untrained: RetinaFace) -> None:
    detector = RetinaFaceDetector(untrained)
    untrained.train()
    try:
        with pytest.raises(ValueError, match="training mode"):
            replace(detector)
    finally:
        untrained.eval()
