"""Hair grows where its style says, and a full beard around the mouth."""

from itertools import combinations

import numpy as np
import pytest

from fantasyid_engine.training.avatar.hair import BEARDS, FULL, STYLES, bun_tables, hair_tables
from fantasyid_engine.training.avatar.head import MOUTH, Floats, make_head

HEAD = make_head()
MASKS, OFFSETS = hair_tables()
NAMES = list(STYLES)
NONE = BEARDS.index("none")
BUNS = {"top knot": 1, "two buns": 2}


def seen_from_the_front(values: Floats, points: Floats) -> Floats:
    """`values` of vertices, interpolated at points (x, y) of the face: of the triangle that is foremost there."""
    faces = HEAD.faces[(HEAD.template[HEAD.faces][..., 2] > 0).all(1)]
    a, b, c = HEAD.template[faces].transpose(1, 0, 2)
    met = []
    for x, y in points:
        area = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (b[:, 1] - a[:, 1])
        v = ((x - a[:, 0]) * (c[:, 1] - a[:, 1]) - (c[:, 0] - a[:, 0]) * (y - a[:, 1])) / area
        w = ((b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (x - a[:, 0]) * (b[:, 1] - a[:, 1])) / area
        weights = np.stack([1 - v - w, v, w], axis=1)
        inside = (weights >= -1e-9).all(1) & (area > 0)
        assert inside.any()
        depth = np.where(inside, (weights * np.stack([a, b, c], axis=1)[..., 2]).sum(1), -np.inf)
        met.append(weights[depth.argmax()] @ values[faces[depth.argmax()]])
    return np.array(met)


def test_tables() -> None:
    assert MASKS.shape == (len(STYLES), len(BEARDS), 642) and OFFSETS.shape == (*MASKS.shape, 3)
    assert np.isfinite(MASKS).all() and np.isfinite(OFFSETS).all()
    again = hair_tables()
    assert again[0] is MASKS and again[1] is OFFSETS
    hair_tables.cache_clear()
    for one, other in zip(hair_tables(), (MASKS, OFFSETS), strict=True):
        assert np.array_equal(one, other)


def test_bald_has_none() -> None:
    bald = MASKS[NAMES.index("bald")]
    for beard in range(len(BEARDS)):
        if beard != FULL:
            assert (bald[beard] < 0).all()
    assert (bald[FULL][HEAD.template[:, 1] > 0.03] < 0).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "bald"])
def test_hair_covers_the_crown_and_spares_the_face(name: str) -> None:
    mask = MASKS[NAMES.index(name), NONE]
    crown = HEAD.template[:, 1].argmax()
    assert mask[crown] > 0
    x, y, z = HEAD.template.T
    assert (mask[(z > 0.07) & (np.abs(x) < 0.045) & (y < 0.03)] < 0).all()
    share = (mask > 0).mean()
    assert (0.05 if name == "mohawk" else 0.15) < share < 0.75


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("bald", "bob", "bob with fringe")])
def test_hair_lies_outside_the_skull(name: str) -> None:
    """Where it is thick, off the temples and the nape that it may tuck in around."""
    mask, offset = MASKS[NAMES.index(name), NONE], OFFSETS[NAMES.index(name), NONE]
    deep = (mask > 0.02) & (HEAD.template[:, 1] > 0.06)
    out = HEAD.template / np.linalg.norm(HEAD.template, axis=1, keepdims=True)
    assert deep.any() and (offset[deep] * out[deep]).sum(1).min() > 0


def test_styles_differ() -> None:
    """Any two by half a centimetre of hair somewhere, or by where it grows on a fiftieth of the head, or by buns."""
    _, _, there = bun_tables()
    for one, other in combinations(range(len(NAMES)), 2):
        grows = MASKS[[one, other], NONE] > 0
        apart = np.linalg.norm(OFFSETS[one, NONE] - OFFSETS[other, NONE], axis=1)[grows.all(0)].max(initial=0)
        cover = (grows[0] != grows[1]).mean()
        buns = (there[one] > 0).sum() != (there[other] > 0).sum()
        assert apart > 0.005 or cover > 0.02 or buns, (NAMES[one], NAMES[other])


def test_what_names_of_styles_say() -> None:
    def lowest(name: str) -> float:
        row = NAMES.index(name), NONE
        return (HEAD.template + OFFSETS[row])[MASKS[row] > 0][:, 1].min()

    def front(name: str) -> float:
        return MASKS[NAMES.index(name), NONE][at_forehead]

    at_forehead = int(np.linalg.norm(HEAD.template - [0, 0.06, 0.1], axis=1).argmin())
    for name in ("short", "fringe", "buzz", "mohawk"):
        assert lowest("long") < lowest("bob") < lowest(name)
    assert front("fringe") > front("short") and front("bob with fringe") > front("bob")
    strip = MASKS[NAMES.index("mohawk"), NONE] > 0
    assert np.abs(HEAD.template[strip, 0]).max() < 0.03
    thick = {name: np.linalg.norm(OFFSETS[NAMES.index(name), NONE], axis=1).max() for name in NAMES}
    assert thick["buzz"] < thick["short"] < thick["afro"]


def test_only_a_full_beard_is_of_hair() -> None:
    for beard, name in enumerate(BEARDS):
        if name != "full":
            assert np.array_equal(MASKS[:, beard], MASKS[:, NONE]) and np.array_equal(
                OFFSETS[:, beard], OFFSETS[:, NONE]
            )
    y = HEAD.template[:, 1]
    grown = (MASKS[:, FULL] > 0) & (MASKS[:, NONE] <= 0)
    assert grown.any(1).all()
    for row in range(len(NAMES)):
        assert y[grown[row]].max() < 0.03
        kept = MASKS[row, NONE] > 0
        assert (MASKS[row, FULL][kept] > 0).all()


@pytest.mark.parametrize("row", range(len(NAMES)), ids=NAMES)
def test_a_full_beard_leaves_the_mouth_free(row: int) -> None:
    mouth = [(x, MOUTH[1] + y) for x in np.linspace(-0.02, 0.02, 9) for y in (-0.006, 0.0, 0.006)]
    mouth += [(x, MOUTH[1] - 0.014) for x in (-0.01, 0.0, 0.01)]  # it opens so far down
    around = [(0, -0.09), (0, -0.10), (0.03, -0.085), (-0.03, -0.085)]
    assert (seen_from_the_front(MASKS[row, FULL], np.array(mouth)) < 0).all()
    assert (seen_from_the_front(MASKS[row, FULL], np.array(around)) > 0).all()


def test_buns_in_their_styles_alone() -> None:
    points, faces, there = bun_tables()
    assert points.shape == (len(STYLES), 84, 3) and there.shape == (len(STYLES), 84) and faces.shape == (160, 3)
    for row, name in enumerate(NAMES):
        assert (there[row] > 0).sum() == 42 * BUNS.get(name, 0)
        style = STYLES[name]
        for number, (*middle, radius) in enumerate(style.buns if style else ()):
            ball = points[row, 42 * number : 42 * number + 42]
            assert (there[row, 42 * number : 42 * number + 42] > 0).all()
            np.testing.assert_allclose(np.linalg.norm(ball - middle, axis=1), radius, atol=1e-12)
            hair = HEAD.template + OFFSETS[row, NONE]
            inside = np.linalg.norm(hair - middle, axis=1) < radius
            assert inside.any(), "a bun sits in the hair"
    first, second = points[NAMES.index("two buns")].reshape(2, 42, 3)
    np.testing.assert_allclose(np.sort(first[:, 0]), np.sort(-second[:, 0]), atol=1e-12)


def test_buns_are_closed_and_outward() -> None:
    points, faces, _ = bun_tables()
    directed = {(int(f[i]), int(f[(i + 1) % 3])) for f in faces for i in range(3)}
    assert len(directed) == 3 * len(faces) and {(b, a) for a, b in directed} == directed
    balls = points[NAMES.index("two buns")]
    middles = balls.reshape(2, 42, 3).mean(1).repeat(42, axis=0)
    assert (np.linalg.det((balls - middles)[faces]) > 0).all()
