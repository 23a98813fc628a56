"""Whether the ratio tells shapes apart: on true renders, whose shapes are known."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from fantasyid_engine.evaluation.instruments import avatar_instruments
from fantasyid_engine.evaluation.vocabulary import attributes_in
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.training.proof.people import Subject
from fantasyid_engine.training.proof.shape_control import PROMPT, SETTINGS, rank_correlation, shape_row, true_clip
from fantasyid_engine.training.recipe_file import read_recipe

PEOPLE = 4
NOBODY = np.zeros((2, 64, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def clips() -> list[list[np.ndarray]]:
    """True clips by person and setting, of the miniature's size."""
    model, world = start_model(read_recipe("avatar-mini")), World(seed=0, split="test", people=PEOPLE, num_frames=9)
    people = [Subject(f"{number}", world.sample(number), b"") for number in range(PEOPLE)]
    return [[true_clip(one, setting, n, model) for setting in SETTINGS] for n, one in enumerate(people)]


def test_true_renders_are_in_the_order_of_their_settings(clips: list[list[np.ndarray]]) -> None:
    assert clips[0][0].shape == (9, 64, 64, 3)
    row = shape_row("true", clips, avatar_instruments().detector)
    assert row.correlation is not None and row.correlation >= 0.95
    steps = np.diff([ratio for ratio in row.ratios if ratio is not None])
    assert len(steps) == 4 and (steps > 0.03).all()  # one deviation is 0.06 of the height


def test_the_same_clip_at_every_setting_has_no_order(clips: list[list[np.ndarray]]) -> None:
    row = shape_row("same", [[row[2]] * len(SETTINGS) for row in clips[:1]], avatar_instruments().detector)
    assert row.correlation == 0 and len(set(row.ratios)) == 1


def test_clips_without_a_face(clips: list[list[np.ndarray]]) -> None:
    detector = avatar_instruments().detector
    nobody = shape_row("nobody", [[NOBODY] * len(SETTINGS)], detector)
    assert nobody.correlation is None and nobody.ratios == (None,) * len(SETTINGS)
    once = shape_row("once", [[*clips[0][:-1], NOBODY]], detector)
    assert once.correlation == 0 and once.ratios[-1] is None and once.ratios[0] is not None


def test_the_prompt_names_everything_that_a_clip_is_made_from() -> None:
    named = attributes_in(PROMPT)
    assert (named["motion"], named["background"], named["light_from"]) == ("still", "plain", "front")
    assert len(named) == 6


def test_rank_correlation_is_spearmans() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.integers(0, 4, (2, 7)).tolist()
        if len(set(one)) > 1 and len(set(other)) > 1:
            assert rank_correlation(one, other) == pytest.approx(spearmanr(one, other).statistic, abs=1e-12)
    assert rank_correlation(SETTINGS, [0.7] * 5) == 0
