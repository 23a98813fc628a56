from dataclasses import replace

import pytest

from fantasyid_engine.training.proof.table3 import table3
from tests.training.proof.cases import REPORT, row

MARKDOWN = """\
|  | FID-avatar ↓ | RS ↑ | IFS ↑ | FM ↑ | rank-1 ↑ | adherence ↑ |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| w/o FV | **1.25** | 0.40 | 0.45 | 1.00 | 50% | 38% |
| FantasyID | **1.25** | **0.60** | **0.68** | **1.50** | **75%** | **56%** |"""


def test_a_row_a_model() -> None:
    without = replace(REPORT, rows=(row("true"), row("ours", 0.5)))
    assert table3({"w/o FV": without, "FantasyID": REPORT}).markdown() == MARKDOWN


def test_reports_of_other_people_do_not_compare() -> None:
    other = replace(REPORT, settings=replace(REPORT.settings, seed=1))
    with pytest.raises(ValueError, match="ours was measured with 4 people, seed 1, "):
        table3({"theirs": REPORT, "ours": other})
    with pytest.raises(ValueError, match="no report"):
        table3({})
