"""Each kind is a picture of its own sort, many times over, from its generator alone."""

import numpy as np
import pytest

from fantasyid_engine.training.avatar.no_faces import KINDS, LEAST_SIZE, draw_no_face, no_face


def many(kind: str, count: int = 24, size: int = 64) -> np.ndarray:
    return np.stack([no_face(kind, np.random.default_rng(seed), size) for seed in range(count)]).astype(float)


def roughness(pictures: np.ndarray) -> np.ndarray:
    """How much neighbours differ, one number a picture."""
    return np.abs(np.diff(pictures, axis=2)).mean((1, 2, 3))


def test_kinds():
    assert KINDS == (
        "blank",
        "noise",
        "text",
        "landscape",
        "shapes",
        "pattern",
        "photo",
        "skin",
        "photo_portrait",
    )


@pytest.mark.parametrize("size", [LEAST_SIZE, 33, 96, 200])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures(kind, size):
    for seed in range(8):
        picture = no_face(kind, np.random.default_rng(seed), size)
        assert picture.shape == (size, size, 3) and picture.dtype == np.uint8
        assert picture.flags.c_contiguous and picture.flags.writeable
        np.testing.assert_array_equal(picture, no_face(kind, np.random.default_rng(seed), size))


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_are_alike(kind):
    pictures = many(kind)
    flat = pictures.reshape(len(pictures), -1)
    apart = np.abs(flat[:, None] - flat[None]).mean(2) + 1000 * np.eye(len(flat))
    assert apart.min() > 1.5
    assert np.ptp(pictures.mean((1, 2, 3))) > 50, "bright and dark"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "blank"])
def test_something_is_in_them(kind):
    assert np.median(many(kind).std((1, 2)).max(1)) > 10


def test_kinds_look_like_what_they_are():
    rough = {kind: np.median(roughness(many(kind))) for kind in KINDS}
    assert rough["blank"] < 2 < min(rough[kind] for kind in ("noise", "text", "pattern"))
    assert rough["photo_portrait"] < rough["pattern"]
    plain = many("blank").std((1, 2)).max(1)
    assert (plain < 1).any() and (plain > 10).any(), "plain ones and gradients"
    sky, ground = (many("landscape")[:, rows].mean((1, 2, 3)) for rows in (slice(0, 20), slice(44, 64)))
    assert (sky > ground).mean() > 0.6
    portraits = many("photo_portrait")
    saturation = (portraits.max(3) - portraits.min(3)).mean((1, 2))
    assert np.median(saturation) < 70 and (portraits.std((1, 2)).mean(1) < 60).mean() > 0.9, "low in contrast"


@pytest.mark.parametrize("kind", ["photo", "photo_portrait"])
def test_photographs_are_grainy(kind):
    """No pixel in a row of three hardly differs from the next, as in a drawing; blur and JPEG may smooth some."""
    drawn = np.median([(np.abs(np.diff(p, axis=1)).max(2) <= 0).mean() for p in many("shapes")])
    taken = np.median([(np.abs(np.diff(p, axis=1)).max(2) <= 0).mean() for p in many(kind)])
    assert taken < 0.35 < drawn


def test_draw_takes_every_kind():
    rng = np.random.default_rng(0)
    drawn = [draw_no_face(rng, 32) for _ in range(30)]
    assert len({picture.tobytes() for picture in drawn}) == 30
    firsts = set()
    for seed in range(80):
        picture = draw_no_face(np.random.default_rng(seed), 32)
        replay = np.random.default_rng(seed)
        kind = KINDS[int(replay.integers(len(KINDS)))]
        np.testing.assert_array_equal(picture, no_face(kind, replay, 32))
        firsts.add(kind)
    assert firsts == set(KINDS)


def test_global_randomness_is_left_alone():
    before = np.random.get_state()[1].copy()
    for kind in KINDS:
        no_face(kind, np.random.default_rng(0), 32)
    np.testing.assert_array_equal(before, np.random.get_state()[1])


def test_refusals():
    with pytest.raises(ValueError, match="kind is 'cat'; it must be one of blank, noise"):
        no_face("cat", np.random.default_rng(0), 96)
    with pytest.raises(ValueError, match="size is 15; it must be at least 16"):
        no_face("blank", np.random.default_rng(0), 15)
