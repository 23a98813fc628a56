"""Measures end where calipers would be put, and the change that is asked for is the smallest there is."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fantasyid_engine.face.vertices import read_vertices
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.shape_measures import MEASURES, ShapeMeasures, find_anchors
from fantasyid_engine.training.avatar.head import EYE, SHAPE, make_head
from fantasyid_engine.training.avatar.mesh import shape_basis
from fantasyid_engine.weights.mesh_pickle import hierarchy_of
from fantasyid_engine.weights.unpickle import load_arrays
from tests.goldens import require_reference

WIDTHS = ("face_width", "jaw_width", "nose_width")
amounts = st.floats(-4, 4, width=32)


def avatars() -> ShapeMeasures:
    return ShapeMeasures(torch.tensor(make_head().template), shape_basis().double().permute(1, 2, 0))


@cache
def authors_mesh() -> MeshHierarchy:
    path = require_reference() / "faces" / "transform.pkl"
    return hierarchy_of(load_arrays(path), path)


def average() -> Tensor:
    """The template of the authors' mesh: an average head, upright."""
    return authors_mesh().template.double()


def newton() -> Tensor:
    """The head that DECA saw in the sample portrait, turned upright: its own bones, and its expression."""
    vertices, upright = read_vertices(require_reference() / "faces" / "newton.ply", authors_mesh()).double(), average()
    face = upright[:, 2] > 0.03
    ours, theirs = vertices[face] - vertices[face].mean(0), upright[face] - upright[face].mean(0)
    u, _, v = torch.linalg.svd(ours.T @ theirs)
    turn = u @ torch.diag(torch.tensor([1, 1, torch.det(u @ v).sign().item()], dtype=torch.float64)) @ v
    return (vertices - vertices[face].mean(0)) @ turn + upright[face].mean(0)


HEADS = [
    pytest.param(lambda: avatars().template, id="avatar"),
    pytest.param(average, id="average", marks=pytest.mark.reference_data),
    pytest.param(newton, id="newton", marks=pytest.mark.reference_data),
]


def plain(template: Tensor) -> ShapeMeasures:
    return ShapeMeasures(template, torch.zeros(*template.shape, 1, dtype=torch.float64))


@pytest.mark.parametrize("head", HEADS)
def test_anchors_lie_where_they_should(head: Callable[[], Tensor]) -> None:
    v = head()
    ends = find_anchors(v)
    assert tuple(ends) == MEASURES
    (root, tip), (top, chin) = ends["nose_length"], ends["face_height"]
    assert root == top
    assert v[tip, 2] > torch.quantile(v[:, 2], 0.99), "nothing is in front of the nose's tip"
    for vertex in (tip, root, chin):
        assert abs(v[vertex, 0]) < 0.004, "on the midline"
    assert v[root, 1] > v[tip, 1] + 0.02 and v[chin, 1] < v[tip, 1] - 0.06
    assert v[tip, 2] - v[root, 2] > 0.01 and 0.01 < v[tip, 2] - v[chin, 2] < 0.06
    for name in WIDTHS:
        left, right = ends[name]
        assert v[left, 0] > 0 > v[right, 0], name
        mirrored = v[right] * torch.tensor([-1, 1, 1])
        assert (v[left] - mirrored).norm() < 0.005, f"{name} ends at a pair"
    for vertex in ends["nose_width"]:
        assert v[tip, 2] - v[vertex, 2] < 0.03 and abs(v[vertex, 1] - v[tip, 1]) < 0.015
    for vertex in ends["jaw_width"]:
        assert v[chin, 1] < v[vertex, 1] < v[tip, 1] - 0.02
    for vertex in ends["face_width"]:
        assert v[tip, 1] - 0.001 <= v[vertex, 1] <= v[root, 1]


@pytest.mark.parametrize("head", HEADS)
def test_sizes_are_those_of_people(head: Callable[[], Tensor]) -> None:
    """Metres. Avatars have the nose of a cartoon, a bump of a centimetre on each side."""
    v = head()
    sizes = {name: float(plain(v).measure(name, v)) for name in MEASURES}
    assert 0.11 < sizes["face_width"] < 0.17
    assert 0.09 < sizes["jaw_width"] < sizes["face_width"]
    assert 0.03 < sizes["nose_length"] < 0.07
    assert 0.09 < sizes["face_height"] < 0.14
    assert (0.010 if len(v) == 642 else 0.028) < sizes["nose_width"] < 0.045


@pytest.mark.parametrize("head", HEADS)
def test_ears_are_left_out(head: Callable[[], Tensor]) -> None:
    v = head()
    _, tip = find_anchors(v)["nose_length"]
    ear_to_ear = np.ptp(v[v[:, 1] > v[tip, 1], 0].numpy())
    assert plain(v).measure("face_width", v) < ear_to_ear - 0.03


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("factor", [0.001, 1000.0])
def test_units_and_origin_do_not_matter(head: Callable[[], Tensor], factor: float) -> None:
    v = head()
    assert find_anchors(factor * (v + torch.tensor([0.3, -1.0, 2.0]))) == find_anchors(v)


@pytest.mark.parametrize("name", MEASURES)
def test_measured_on_the_moved_head_it_changes_as_asked(name: str) -> None:
    measures = avatars()
    before = measures.measure(name, measures.template)
    sizes = []
    for amount in (-2.0, -1.0, -0.25, 0.5, 1.0, 3.0):
        moved = measures.template + measures.basis @ measures.smallest_change({name: amount})
        sizes.append(measures.measure(name, moved))
        assert float(sizes[-1] - before) == pytest.approx(amount * measures.deviation(name), rel=1e-9)
    assert sizes == sorted(sizes)


def test_a_wider_face_is_wider_at_every_height() -> None:
    """By a rule that knows nothing of anchors: the breadth of slices through the face, in front of the ears."""
    measures = avatars()
    wide = measures.template + measures.basis @ measures.smallest_change({"face_width": 1.5})
    front = measures.template[:, 2] > 0.02
    for height in (-0.06, -0.03, 0.0, 0.03):
        level = front & ((measures.template[:, 1] - height).abs() < 0.012)
        assert np.ptp(wide[level, 0].numpy()) > np.ptp(measures.template[level, 0].numpy()) + 0.005


def test_a_longer_nose_leaves_the_rest() -> None:
    measures = avatars()
    moved = measures.basis @ measures.smallest_change({"nose_length": 1.0})
    far = (measures.template - measures.template[find_anchors(measures.template)["nose_length"][1]]).norm(dim=1) > 0.08
    assert moved[far].norm(dim=1).max() < 0.001 < 0.004 < moved.norm(dim=1).max()


@pytest.mark.parametrize(("name", "direction"), [("face_width", "face_width"), ("jaw_width", "jaw")])
def test_the_direction_of_that_name_takes_the_greatest_part(name: str, direction: str) -> None:
    change = avatars().smallest_change({name: 1.0})
    assert SHAPE[int(change.abs().argmax())] == direction and change.norm() == pytest.approx(1)


def synthetic(count: int = 20) -> ShapeMeasures:
    """The avatars' head with smooth random directions, as a basis of statistics has them."""
    template = torch.tensor(make_head().template)
    generator = torch.Generator().manual_seed(count)
    waves = torch.randn(3, 3 * count, generator=generator, dtype=torch.float64) * 20
    fields = torch.sin(template @ waves + torch.arange(3 * count)).view(-1, 3, count)
    return ShapeMeasures(template, 0.003 * fields)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from(MEASURES), amounts, min_size=1), st.lists(amounts, min_size=20, max_size=20))
def test_no_other_change_that_does_it_is_smaller(wanted: dict[str, float], noise: list[float]) -> None:
    """Noise with its parts along the measures' gradients taken away is all that such changes can differ by."""
    measures = synthetic()
    change = measures.smallest_change(wanted)
    gradients = torch.stack([_numeric_gradient(measures, name) for name in wanted])
    for gradient, (name, amount) in zip(gradients, wanted.items(), strict=True):
        assert float(gradient @ change) == pytest.approx(amount * measures.deviation(name), rel=1e-6, abs=1e-9)
    free = torch.tensor(noise, dtype=torch.float64)
    free = free - gradients.T @ torch.linalg.lstsq(gradients.T, free[:, None], driver="gelsd").solution[:, 0]
    assert (change + free).norm() >= change.norm() - 1e-9
    assert float(change @ free) == pytest.approx(0, abs=1e-6)


def _numeric_gradient(measures: ShapeMeasures, name: str) -> Tensor:
    steps = torch.eye(measures.basis.shape[-1], dtype=torch.float64)
    moved = measures.template + torch.einsum("vcn,mn->mvc", measures.basis, steps)
    return measures.measure(name, moved) - measures.measure(name, measures.template)


def test_deviation_is_that_of_people() -> None:
    measures = synthetic()
    people = torch.randn(4000, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    heads = measures.template + torch.einsum("vcn,bn->bvc", measures.basis, people)
    for name in MEASURES:
        assert float(measures.measure(name, heads).std()) == pytest.approx(measures.deviation(name), rel=0.05)


def test_it_is_how_such_people_differ_on_average() -> None:
    """The mean of people whose face is two deviations wider than the average one."""
    measures = synthetic()
    people = torch.randn(200_000, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grown = people @ _numeric_gradient(measures, "face_width") / measures.deviation("face_width")
    wide = people[(grown - 2).abs() < 0.1]
    assert (wide.mean(0) - measures.smallest_change({"face_width": 2.0})).norm() < 0.15


def test_types_and_sizes() -> None:
    head = avatars()
    measures = ShapeMeasures(head.template.float(), head.basis.float())
    change = measures.smallest_change({"face_width": 1.0})
    assert change.shape == (16,) and change.dtype == torch.float32
    assert torch.equal(measures.smallest_change({}), torch.zeros(16))
    assert torch.equal(measures.smallest_change({"jaw_width": 0.0}), torch.zeros(16))
    heads = head.template.expand(2, 3, -1, -1)
    assert measures.measure("jaw_width", heads).shape == (2, 3)


@pytest.mark.reference_data
def test_a_basis_on_the_authors_mesh() -> None:
    """A direction that scales x about the midline, and one that only moves the brain pan."""
    template = average()
    scale = template * torch.tensor([0.05, 0, 0])
    top = torch.where(template[:, 1:2] > 1.6, 0.01, 0.0).expand(-1, 3)
    measures = ShapeMeasures(template, torch.stack([scale, top], dim=2))
    for name in WIDTHS:
        change = measures.smallest_change({name: 1.5})
        assert change.tolist() == pytest.approx([1.5, 0])
        assert measures.deviation(name) == pytest.approx(0.05 * float(measures.measure(name, template)))
    with pytest.raises(ValueError, match="nose_length cannot be changed"):
        measures.smallest_change({"nose_length": 1.0})


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"face": 1.0}, r"no measure 'face'; there are face_width, face_height"),
        ({"face_width": float("nan")}, "must be finite numbers"),
        ({"face_width": float("inf")}, "must be finite numbers"),
    ],
)
def test_wrong_requests(wanted: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        avatars().smallest_change(wanted)


def test_a_basis_that_moves_other_things() -> None:
    head = avatars()
    crown = ShapeMeasures(head.template, 0.01 * (head.template[:, :, None] > 0.1))
    with pytest.raises(ValueError, match="jaw_width cannot be changed: this basis does not move it"):
        crown.smallest_change({"jaw_width": 1.0})


def test_measures_that_move_together() -> None:
    """One direction can do what two measures want of it only where they want the same."""
    head = avatars()
    scale = ShapeMeasures(head.template, 0.05 * head.template[..., None])
    both = scale.smallest_change({"face_width": 1.0, "jaw_width": 1.0})
    assert both.tolist() == pytest.approx([1.0])
    with pytest.raises(ValueError, match="face_width, jaw_width move together in this basis"):
        scale.smallest_change({"face_width": 1.0, "jaw_width": -1.0})


def test_what_is_no_face() -> None:
    line = torch.stack([torch.linspace(-1, 1, 9, dtype=torch.float64), torch.zeros(9), torch.zeros(9)], dim=1)
    with pytest.raises(ValueError, match="the template shows no forehead"):
        find_anchors(line)
    with pytest.raises(ValueError, match="no finite numbers"):
        find_anchors(line * torch.nan)


@pytest.mark.parametrize("shape", [(16, 642, 3), (642, 3), (641, 3, 2)], ids=str)
def test_sizes_that_do_not_go_together(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"they must be \[V, 3\] and \[V, 3, n\]"):
        ShapeMeasures(avatars().template, torch.zeros(shape))


def test_an_avatars_nose_is_between_its_eyes() -> None:
    head = avatars().template
    (root, tip), (left, right) = find_anchors(head)["nose_length"], find_anchors(head)["nose_width"]
    assert abs(head[root, 1] - EYE[1]) < 0.012 and head[tip, 1] < EYE[1] - 0.02
    assert abs(head[left, 0] - EYE[0]) > 0.02 < abs(head[right, 0] + EYE[0])
