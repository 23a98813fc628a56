"""RetinaFace's network and what its answers mean, against the goldens and against plain loops."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.models import retinaface, retinaface_boxes
from fantasyid_engine.models.resnet import Bottleneck
from fantasyid_engine.models.retinaface import RetinaFace, as_input
from fantasyid_engine.models.retinaface_boxes import boxes_in_pixels, points_in_pixels, priors, select
from tests.face_goldens import face_weights, picture
from tests.goldens import assert_close, golden, golden_json, relative_l2

SIZES = [pytest.param(320, 256, id="320x256"), pytest.param(203, 157, id="203x157")]
TOLERANCE = {"loc": 5e-6, "conf": 2e-6, "landms": 5e-6}


@pytest.fixture(scope="module")
def network() -> RetinaFace:
    made = RetinaFace()
    made.load_state_dict(face_weights("retinaface", "retinaface_keys"))
    return made.eval().requires_grad_(False)


def photo(height: int, width: int) -> np.ndarray:
    """The goldens' picture, which is blue, green, red, as RGB."""
    return picture(f"input.retinaface.{height}x{width}", height, width).numpy()[..., ::-1]


@torch.inference_mode()
def answers(network: RetinaFace, input_B3HW: Tensor) -> dict[str, Tensor]:
    return dict(zip(TOLERANCE, network(input_B3HW), strict=True))


@pytest.mark.reference_data
def test_keys_are_the_checkpoints() -> None:
    with torch.device("meta"):
        ours = RetinaFace().state_dict()
    found = {key: [list(value.shape), str(value.dtype).removeprefix("torch.")] for key, value in ours.items()}
    assert list(found.items()) == list(golden_json("faces/retinaface_keys").items())


@pytest.mark.reference_data
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_answers(network: RetinaFace, height: int, width: int) -> None:
    found = answers(network, as_input(photo(height, width)))
    for name, value in found.items():
        assert_close(name, value, golden("faces/retinaface")[f"{height}x{width}.{name}"], TOLERANCE[name])


@pytest.mark.reference_data
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_the_answers_mean(height: int, width: int) -> None:
    expected = {name: golden("faces/retinaface")[f"{height}x{width}.{name}"] for name in ("loc", "landms", "priors")}
    anchors = priors(height, width)
    assert torch.equal(anchors, expected["priors"])
    boxes = boxes_in_pixels(expected["loc"][0], anchors, height, width)
    points = points_in_pixels(expected["landms"][0], anchors, height, width)
    for name, value in (("boxes", boxes), ("points", points.flatten(1))):
        assert (value - golden("faces/retinaface")[f"{height}x{width}.{name}"]).abs().max() < 1e-3, name


Mutate = Callable[[pytest.MonkeyPatch, RetinaFace], None]


def epsilon(eps: float) -> Mutate:
    def mutate(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
        for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
            patch.setattr(norm, "eps", eps)

    return mutate


def early_stride(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
    for block in (module for module in network.modules() if isinstance(module, Bottleneck)):
        patch.setattr(block.conv1, "stride", block.conv2.stride)
        patch.setattr(block.conv2, "stride", (1, 1))


def mean_in_rgb_order(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
    patch.setattr(retinaface, "MEAN_BGR", retinaface.MEAN_BGR[::-1])


def leaky(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
    run = network.fpn.forward

    def forward(*maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with patch.context() as inner:
            inner.setattr(F, "relu", lambda x: F.leaky_relu(x, 0.1))
            return run(*maps)

    patch.setattr(network.fpn, "forward", forward)


def bilinear(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
    nearest = F.interpolate
    patch.setattr(F, "interpolate", lambda x, size, mode: nearest(x, size=size, mode="bilinear"))


def branches_swapped(patch: pytest.MonkeyPatch, network: RetinaFace) -> None:
    for context in (network.ssh1, network.ssh2, network.ssh3):
        second, third = context.conv5X5_2, context.conv7x7_3
        patch.setitem(context._modules, "conv5X5_2", third)
        patch.setitem(context._modules, "conv7x7_3", second)


@pytest.mark.reference_data
@pytest.mark.parametrize(
    ("mutate", "change"),
    [
        pytest.param(epsilon(1e-6), 2e-5, id="epsilon-1e-6"),
        pytest.param(epsilon(1e-3), 2e-3, id="epsilon-1e-3"),
        pytest.param(early_stride, 3e-2, id="stride-on-the-first-1x1"),
        pytest.param(mean_in_rgb_order, 5e-2, id="mean-in-rgb-order"),
        pytest.param(leaky, 3e-2, id="leaky-pyramid"),
        pytest.param(bilinear, 2e-2, id="bilinear-up"),
        pytest.param(branches_swapped, 0.2, id="branches-swapped"),
    ],
)
def test_wrong_readings_show(
    network: RetinaFace, monkeypatch: pytest.MonkeyPatch, mutate: Mutate, change: float
) -> None:
    mutate(monkeypatch, network)
    found = answers(network, as_input(photo(203, 157)))
    assert relative_l2(found["loc"], golden("faces/retinaface")["203x157.loc"]) > change


@pytest.mark.reference_data
def test_red_and_blue_swapped_shows(network: RetinaFace) -> None:
    found = answers(network, as_input(photo(203, 157)[..., ::-1]))
    assert relative_l2(found["loc"], golden("faces/retinaface")["203x157.loc"]) > 0.1


def test_input_is_blue_green_red_less_their_means() -> None:
    pixels = np.array([[[1, 2, 3], [255, 0, 128]]], np.uint8)
    expected = [[[3 - 104, 128 - 104]], [[2 - 117, 0 - 117]], [[1 - 123, 255 - 123]]]
    assert as_input(pixels).dtype == torch.float32
    assert as_input(pixels).tolist() == [expected]


def test_input_of_views_and_of_pictures_that_may_not_be_written() -> None:
    whole = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    view = whole[::-2, 4:20:3]
    view.flags.writeable = False
    assert torch.equal(as_input(view), as_input(view.copy()))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (33, 64), (203, 157)])
def test_priors_one_by_one(height: int, width: int) -> None:
    expected = [
        ((column + 0.5) * stride / width, (row + 0.5) * stride / height, size / width, size / height)
        for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
        for row in range(math.ceil(height / stride))
        for column in range(math.ceil(width / stride))
        for size in sizes
    ]
    assert torch.equal(priors(height, width), torch.tensor(expected, dtype=torch.float64).float())


def test_answers_in_pixels() -> None:
    """An anchor of 20 x 40 pixels about (50, 80) in a picture of 100 x 200."""
    anchor = torch.tensor([[0.5, 0.4, 0.2, 0.2]])
    box = boxes_in_pixels(torch.tensor([[1.0, -2.0, math.log(2) / 0.2, 0.0]]), anchor, 200, 100)
    assert box[0].tolist() == pytest.approx([52 - 20, 72 - 20, 52 + 20, 72 + 20], abs=1e-4)
    points = points_in_pixels(torch.tensor([[0.0, 0, 10, 0, 0, 10, -10, 0, 0, -10]]), anchor, 200, 100)
    expected = torch.tensor([[50.0, 80], [70, 80], [50, 120], [30, 80], [50, 40]])
    assert (points[0] - expected).abs().max() < 1e-4


def test_boxes_may_lie_outside() -> None:
    box = boxes_in_pixels(torch.zeros(1, 4), priors(8, 8)[-1:], 8, 8)
    assert box.tolist() == [[16 - 256, 16 - 256, 16 + 256, 16 + 256]]


def greedy(boxes: np.ndarray, scores: np.ndarray, threshold: float) -> list[int]:
    kept: list[int] = []
    for row in sorted(range(len(scores)), key=lambda row: -scores[row]):
        if scores[row] > threshold and all(overlap(boxes[row], boxes[other]) <= 0.4 for other in kept):
            kept.append(row)
    return kept


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    across, down = (max(0.0, min(one[i + 2], other[i + 2]) - max(one[i], other[i])) for i in (0, 1))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return across * down / (sum(areas) - across * down)


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_selection_against_a_loop(count: int) -> None:
    rng = np.random.default_rng(count)
    first, size = rng.uniform(0, 100, (count, 2)), rng.uniform(5, 40, (count, 2))
    boxes = np.concatenate([first, first + size], axis=1).astype(np.float32)
    scores = rng.permutation(np.linspace(0.2, 1, count, dtype=np.float32))
    found = select(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).tolist()
    assert found == greedy(boxes.astype(np.float64), scores.astype(np.float64), 0.5)
    assert count < 300 or 20 < len(found) < 150


def side_by_side(*shares: float) -> Tensor:
    """Squares of 100 pixels, each of which shares so much with the first (intersection over union)."""
    rows = [[0.0, 0.0, 100.0, 100.0]]
    for share in shares:
        shift = 100 * (1 - share) / (1 + share)
        rows.append([shift, 0.0, shift + 100, 100.0])
    return torch.tensor(rows)


def test_selection_at_its_limits() -> None:
    scores = torch.tensor([0.9, 0.8])
    assert select(side_by_side(0.41), scores, 0.5).tolist() == [0]
    assert select(side_by_side(0.39), scores, 0.5).tolist() == [0, 1]
    limit = torch.tensor([0.97, 0.97]).nextafter(torch.tensor([0.0, 1.0]))
    assert select(side_by_side(0.0), limit, 0.97).tolist() == [1]
    assert select(side_by_side(0.0), torch.tensor([0.97, 0.97]), 0.97).tolist() == []


def test_selection_of_equal_scores_keeps_the_first() -> None:
    assert select(side_by_side(0.9, 0.8), torch.full((3,), 0.5), 0.1).tolist() == [0]


def test_selection_leaves_out_what_is_not_finite() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, math.inf, 10], [0, math.nan, 10, 10], [50, 50, 50, 50]])
    assert select(boxes, torch.tensor([0.6, 0.7, 0.8, math.nan]), 0.5).tolist() == [0]
    assert select(boxes[[3, 3]], torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


def selected(threshold: float) -> Tensor:
    """What the crafted answer shows, as the goldens have it: box, score, points."""
    expected = golden("faces/retinaface")
    index, anchors = expected["crafted.index"].long(), priors(320, 256)
    boxes = boxes_in_pixels(expected["crafted.loc"], anchors[index], 320, 256)
    points = points_in_pixels(expected["crafted.landms"], anchors[index], 320, 256)
    scores = expected["crafted.score"]
    return torch.cat([boxes, scores[:, None], points.flatten(1)], dim=1)[select(boxes, scores, threshold)]


@pytest.mark.reference_data
@pytest.mark.parametrize(("threshold", "name"), [(0.97, "crafted.detections"), (0.8, "crafted.detections_0.8")])
def test_crafted_answer(threshold: float, name: str) -> None:
    expected = golden("faces/retinaface")[name]
    assert selected(threshold).shape == expected.shape
    assert (selected(threshold) - expected).abs().max() < 1e-3


@pytest.mark.reference_data
@pytest.mark.parametrize(("name", "value"), [("SAME", 0.5), ("SAME", 0.38), ("SIZE_VARIANCE", 0.1)])
def test_wrong_limits_show(monkeypatch: pytest.MonkeyPatch, name: str, value: float) -> None:
    monkeypatch.setattr(retinaface_boxes, name, value)
    expected = golden("faces/retinaface")["crafted.detections"]
    found = selected(0.97)
    assert found.shape != expected.shape or (found - expected).abs().max() > 1
