import pytest

from fantasyid_engine.evaluation.adherence import Score, Shown, number_of_values, scores

VALUES = {"motion": 4, "colour": 8, "background": 3}


def test_share_of_the_clips_that_name_it() -> None:
    clips = [
        Shown({"motion": "nod", "colour": "red"}, {"motion": "nod", "colour": "blue"}),
        Shown({"motion": "nod"}, {"motion": "still"}),
        Shown({"motion": "talk"}, {"motion": "talk", "background": "plain"}),
        Shown({"motion": "talk"}, {}),
    ]
    assert scores(clips, VALUES) == {"motion": Score(0.5, 4, 0.25), "colour": Score(0.0, 1, 0.125)}


def test_nothing_named_has_no_score() -> None:
    assert scores([Shown({}, {"motion": "nod"})], VALUES) == {}
    assert scores([], VALUES) == {}


def test_vocabulary() -> None:
    vocabulary = pytest.importorskip("fantasyid_engine.evaluation.vocabulary")
    assert number_of_values() == {name: len(values) for name, values in vocabulary.VALUES.items()}
