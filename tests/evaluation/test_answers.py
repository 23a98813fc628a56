import json
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.evaluation.answers import read_answers, read_key, study_result

KEY = {
    "format": "fantasyid-study-1",
    "study": "abc",
    "seed": 3,
    "items": {
        f"v{n}": {"method": method, "video": f"{method}.mp4", "reference": "a.png"}
        for n, method in enumerate(["ours", "theirs", "ours"])
    },
}
CODES = ("OQ", "F-Sim", "F-Str", "FD")


def answers(session: str = "s1", **changes: Any) -> dict[str, Any]:
    """Ratings 0, 1, 2 of the three videos, one more a question."""
    rated = {item: {code: index + more for more, code in enumerate(CODES)} for index, item in enumerate(KEY["items"])}
    record = {"format": "fantasyid-answers-1", "study": "abc", "session": session, "rater": "AB", "saved_at": "now"}
    return record | {"answers": rated} | changes


def write(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


@pytest.fixture
def page(tmp_path: Path) -> Path:
    write(tmp_path / "page.key.json", KEY)
    return tmp_path / "page.html"


def test_means(page: Path, tmp_path: Path) -> None:
    tens = {item: dict.fromkeys(CODES, 10) for item in KEY["items"]}
    files = [write(tmp_path / "a.json", answers()), write(tmp_path / "b.json", answers("s2", answers=tens))]
    key = read_key(page)
    result = study_result(key, read_answers(files, key))
    assert result.means["ours"] == {"OQ": (0 + 2 + 20) / 4, "F-Sim": 6.0, "F-Str": 6.5, "FD": 7.0}
    assert result.means["theirs"] == {"OQ": 5.5, "F-Sim": 6.0, "F-Str": 6.5, "FD": 7.0}
    assert (result.raters, result.videos) == (2, {"ours": 2, "theirs": 1})
    assert result.table().text().splitlines() == [
        "        OQ ↑  F-Sim ↑  F-Str ↑  FD ↑",
        "ours    5.50     6.00     6.50  7.00",
        "theirs  5.50     6.00     6.50  7.00",
    ]
    assert "2 raters; videos: ours 2, theirs 1" in result.markdown()
    assert json.loads(result.json())["means"] == result.means


def changed(item: str, code: str, value: Any) -> dict[str, Any]:
    record = answers()
    record["answers"][item][code] = value
    return record


def without(*path: str) -> dict[str, Any]:
    record: Any = answers()
    inner = record
    for part in path[:-1]:
        inner = inner[part]
    del inner[path[-1]]
    return record


@pytest.mark.parametrize(
    ("values", "code", "says"),
    [
        (changed("v1", "OQ", 11), "answers_unreadable", "answers.v1.OQ"),
        (changed("v1", "OQ", -1), "answers_unreadable", "answers.v1.OQ"),
        (changed("v1", "F-Sim", 5.5), "answers_unreadable", "answers.v1.F-Sim"),
        (changed("v1", "F-Sim", "5"), "answers_unreadable", "answers.v1.F-Sim"),
        (changed("v1", "F-Sim", True), "answers_unreadable", "answers.v1.F-Sim"),
        (changed("v1", "XX", 5), "answers_unreadable", "answers.v1.XX"),
        (without("answers", "v1", "FD"), "answers_unreadable", "answers.v1.FD"),
        (without("answers", "v1"), "answers_wrong", "v1 of 3 videos are not rated"),
        (
            answers(answers=answers()["answers"] | {"v9": answers()["answers"]["v1"]}),
            "answers_wrong",
            "does not have: v9",
        ),
        (answers(study="other\n"), "answers_wrong", r"of the study other\n, not of abc"),
        (answers(format="x"), "answers_unreadable", "format"),
        (answers(more=1), "answers_unreadable", "more"),
        (without("session"), "answers_unreadable", "session"),
        ([], "answers_unreadable", "no JSON object"),
    ],
)
def test_refused(page: Path, tmp_path: Path, values: Any, code: str, says: str) -> None:
    file = write(tmp_path / "a.json", values)
    with pytest.raises(InputError) as caught:
        read_answers([file], read_key(page))
    assert caught.value.code == code
    assert says in str(caught.value) and str(file) in str(caught.value) and str(caught.value).isprintable()


def test_a_rater_counts_once(page: Path, tmp_path: Path) -> None:
    files = [write(tmp_path / name, answers(saved_at=name)) for name in ("a.json", "b.json")]
    with pytest.raises(InputError, match=r"b\.json and .*a\.json are of the same rater") as caught:
        read_answers(files, read_key(page))
    assert caught.value.code == "answers_twice"


def test_no_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"page\.key\.json cannot be read: No such file") as caught:
        read_key(tmp_path / "page.html")
    assert caught.value.code == "study_unreadable"
    write(tmp_path / "page.key.json", KEY | {"items": {}})
    with pytest.raises(InputError, match=r"page\.key\.json is no key of a study: items"):
        read_key(tmp_path / "page.html")
