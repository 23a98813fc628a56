from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fantasyid_engine.cli import app
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.proof.files import read_report, report_json
from fantasyid_engine.training.proof.table3 import table3
from tests.training.proof.cases import REPORT, row

ROOT = Path(__file__).parents[3]
TRAINED = {
    "w/o FA": "without-face-abstractor",
    "w/o MFC": "without-multi-view",
    "w/o FV": "without-face-vertices",
    "w/o LACSI": "without-layer-aware-injection",
    "FantasyID": "full",
}
MARKDOWN = """\
|  | FID-avatar ↓ | RS ↑ | IFS ↑ | FM ↑ | rank-1 ↑ | adherence ↑ |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
| w/o FV | **1.25** | 0.40 | 0.45 | 1.00 | 50% | 38% |
| FantasyID | **1.25** | **0.60** | **0.68** | **1.50** | **75%** | **56%** |"""


def test_a_row_a_model() -> None:
    without = replace(REPORT, rows=(row("true"), row("ours", 0.5)))
    assert table3({"w/o FV": without, "FantasyID": REPORT}).markdown() == MARKDOWN


def test_the_miniatures_table_is_what_its_reports_say() -> None:
    runs, docs = ROOT / "training" / "runs" / "avatar-mini-table3", ROOT / "docs" / "training" / "README.md"
    made = table3({name: read_report(runs / folder / "report.json") for name, folder in TRAINED.items()}).markdown()
    assert made in docs.read_text(encoding="utf-8")


def test_reports_of_other_people_do_not_compare() -> None:
    other = replace(REPORT, settings=replace(REPORT.settings, seed=1))
    with pytest.raises(ConfigError, match="ours was measured with 4 people, seed 1, "):
        table3({"theirs": REPORT, "ours": other})


def test_the_command(tmp_path: Path) -> None:
    """From the files that reports are, to the screen and a file."""
    without = replace(REPORT, rows=(row("true"), row("ours", 0.5)))
    for name, report in (("one", without), ("two", REPORT)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_text(report_json(report))
    rows = [f"w/o FV={tmp_path / 'one'}", f"FantasyID={tmp_path / 'two'}"]
    done = CliRunner().invoke(app, ["train", "table3", *rows, "--out", str(tmp_path / "table.md")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "table.md").read_text() == f"{MARKDOWN}\n"
    assert done.stdout.splitlines()[1].split()[:4] == ["w/o", "FV", "1.25", "0.40"]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (["nonsense"], "'nonsense' is not ROW=DIR"),
        (["=x"], "'=x' is not"),
        (["a=x", "a=y"], "the row 'a' is there twice"),
    ],
)
def test_rows_that_are_none(rows: list[str], says: str) -> None:
    done = CliRunner().invoke(app, ["train", "table3", *rows])
    assert done.exit_code == 2 and says in done.output
