"""People: every draw is somebody else, of every kind, and drawn again the same."""

from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.head import SHAPE
from fantasyid_engine.training.avatar.person import RIMS, Person, draw_person, rgb

COLOURS = ("skin", "eyes", "hair", "lips", "rims")
DRAWS = 2000


def same(one: Person, other: Person) -> bool:
    return all(np.array_equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(Person))


@pytest.fixture(scope="module")
def people() -> list[Person]:
    rng = np.random.default_rng(7)
    return [draw_person(rng) for _ in range(DRAWS)]


def test_every_draw_is_valid(people: list[Person]) -> None:
    for person in people:
        assert person.shape.shape == (len(SHAPE),) and person.shape.dtype == np.float32
        assert np.abs(person.shape).max() <= np.float32(2.2)
        for name in COLOURS:
            colour = getattr(person, name)
            assert len(colour) == 3 and all(isinstance(c, float) and 0 <= c <= 1 for c in colour)
        assert person.style in STYLES and person.beard in BEARDS and person.glasses in RIMS
        assert 0.001 < person.brow[0] < 0.007 and abs(person.brow[1]) < 0.5
        assert all(0 <= strength <= 1 for strength in (person.freckles, person.blush, person.lashes))


def test_shapes_are_of_unit_spread(people: list[Person]) -> None:
    shapes = np.stack([person.shape for person in people])
    assert np.abs(shapes.mean(0)).max() < 0.1 and np.abs(shapes.std(0) - 1).max() < 0.1
    assert np.abs(np.corrcoef(shapes.T) - np.eye(len(SHAPE))).max() < 0.12
    assert shapes.min() < -2.1 and shapes.max() > 2.1


@pytest.mark.parametrize(
    ("name", "values", "rarest"), [("style", STYLES, 0.03), ("beard", BEARDS, 0.05), ("glasses", RIMS, 0.05)]
)
def test_every_kind_occurs(people: list[Person], name: str, values: tuple[str, ...], rarest: float) -> None:
    counts = Counter(getattr(person, name) for person in people)
    assert set(counts) == set(values) and min(counts.values()) > rarest * DRAWS


def test_colours_vary(people: list[Person]) -> None:
    for name, spread in (("skin", 0.15), ("eyes", 0.1), ("hair", 0.2), ("lips", 0.08), ("rims", 0.2)):
        assert np.array([getattr(person, name) for person in people]).std(0).min() > spread, name
    skins = np.array([person.skin for person in people])
    assert (np.diff(skins, axis=1) < 0).all()  # red most, blue least


def test_reproducible_by_seed() -> None:
    for seed in range(20):
        assert same(draw_person(np.random.default_rng(seed)), draw_person(np.random.default_rng(seed)))
        other = draw_person(np.random.default_rng(seed + 1))
        mine = draw_person(np.random.default_rng(seed))
        assert np.abs(mine.shape - other.shape).max() > 0.1 and mine.skin != other.skin


def test_nobody_twice(people: list[Person]) -> None:
    assert len({person.shape.tobytes() for person in people}) == DRAWS


def test_rgb() -> None:
    assert rgb("#ff0080") == (1.0, 0.0, 128 / 255)
