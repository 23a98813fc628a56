"""The table of terms, and the record of what was accepted."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fantasyid_engine.errors import WeightsError
from fantasyid_engine.weights import licences
from fantasyid_engine.weights.licences import LICENCES, accept, check_accepted, not_accepted


def test_every_row_says_what_it_is_and_where_it_stands() -> None:
    assert len({row.name for row in LICENCES}) == len(LICENCES) == 9
    for row in LICENCES:
        assert row.used and row.terms and row.url.startswith("https://") and "\n" not in row.used + row.terms
    forbid = {row.name for row in LICENCES if row.non_commercial}
    assert forbid == {"FantasyID mesh", "DECA", "FLAME 2020", "insightface antelopev2"}
    assert [row.name for row in LICENCES if not row.asked] == ["insightface antelopev2"]


def test_accepted_once(tmp_path: Path) -> None:
    home = tmp_path / "models"
    assert not_accepted(home) == [row for row in LICENCES if row.asked]
    with pytest.raises(
        WeightsError, match=r"the terms of FantasyID, .*, FLAME 2020 have not been accepted: read .*pull"
    ):
        check_accepted(home)
    accept(home, not_accepted(home))
    assert not_accepted(home) == []
    check_accepted(home)
    record = json.loads((home / "licences.json").read_text())["accepted"]
    assert record.keys() == {row.name for row in LICENCES if row.asked}
    assert record["DECA"]["terms_sha256"] == next(row.digest for row in LICENCES if row.name == "DECA")
    age = datetime.now(UTC) - datetime.fromisoformat(record["DECA"]["time_utc"])
    assert timedelta(seconds=-1) <= age < timedelta(minutes=10)
    assert [path.name for path in home.iterdir()] == ["licences.json"]


@pytest.mark.parametrize(
    "change", [{"terms": "new terms"}, {"url": "https://elsewhere"}, {"non_commercial": True}], ids=str
)
def test_what_changes_is_asked_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict) -> None:
    """And only that; the others stay accepted, at their time."""
    accept(tmp_path, LICENCES)
    before = json.loads((tmp_path / "licences.json").read_text())["accepted"]
    changed = replace(LICENCES[0], **change)
    monkeypatch.setattr(licences, "LICENCES", (changed, *LICENCES[1:]))
    assert not_accepted(tmp_path) == [changed]
    accept(tmp_path, [changed])
    assert not_accepted(tmp_path) == []
    after = json.loads((tmp_path / "licences.json").read_text())["accepted"]
    assert {name for name, row in after.items() if row["terms_sha256"] != before[name]["terms_sha256"]} == {
        changed.name
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"accepted": []}', '{"accepted": {"DECA": 1}}', "{}"])
def test_a_record_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "licences.json").write_text(text)
    with pytest.raises(WeightsError, match=r"licences\.json"):
        not_accepted(tmp_path)
