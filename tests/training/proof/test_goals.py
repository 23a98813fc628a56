from dataclasses import replace

import pytest

from fantasyid_engine.training.proof.goals import GOALS
from tests.training.proof.cases import REPORT, SHAPE, row

BY_NAME = {goal.name: goal for goal in GOALS}


def test_figures() -> None:
    found = [goal.read(REPORT) for goal in GOALS]
    assert found == pytest.approx([34.5, 0.75, 0.75, 0.75, 0.5625, 0.75, 0.75, 0.875, 0.0])
    assert [goal.met(REPORT) for goal in GOALS] == [True, False, False, True, False, False, True, False, True]


def test_too_much_is_not_enough() -> None:
    fast = replace(REPORT, rows=(row("true"), replace(row("ours"), fm=2.7)))
    assert not BY_NAME["FM, ours / true"].met(fast)


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    blank = replace(REPORT, shape=None, rows=(row("true"), replace(row("ours"), ifs=None, adherence={})))
    for name in ("IFS, ours / true", "adherence, mean over attributes", "shape control: rank correlation"):
        assert BY_NAME[name].read(blank) is None and BY_NAME[name].met(blank) is None
    nobody = replace(REPORT, shape=replace(SHAPE, rows=tuple(replace(r, correlation=None) for r in SHAPE.rows)))
    assert BY_NAME["the same without vertices"].met(nobody) is None


def test_words() -> None:
    assert BY_NAME["rank-1"].text == "at least 80.0%"
    assert BY_NAME["FM, ours / true"].text == "0.70 to 1.30"
