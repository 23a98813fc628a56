import json
from dataclasses import replace
from pathlib import Path

import pytest

from fantasyid_engine.errors import Cancelled, ConfigError, OutputError
from fantasyid_engine.training.proof.files import read_report, report_json, write_report
from fantasyid_engine.training.proof.markdown import report_markdown
from tests.training.proof.cases import REPORT, SETTINGS, lively_engine, quiet


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    for report in (REPORT, replace(REPORT, shape=None)):
        path.write_text(report_json(report))
        assert read_report(path) == report
    goals = json.loads(path.read_text())["goals"]
    assert goals[0] == {
        "name": "VAE: PSNR of unseen clips, dB",
        "value": 34.5,
        "goal": "at least 34.0",
        "met": True,
    }
    assert goals[-1]["met"] is None


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is no report of a model"):
        read_report(path)
    path.write_text(report_json(REPORT).replace('"psnr"', '"loudness"'))
    with pytest.raises(ConfigError, match=r"report\.json: "):
        read_report(path)


def test_markdown() -> None:
    text = report_markdown(REPORT)
    assert text.startswith("# mine\\|&lt;b>, measured\n")
    assert "| VAE: PSNR of unseen clips, dB | 34.5 | at least 34.0 | yes |" in text
    assert "| rank-1 | 75.0% | at least 80.0% | no |" in text
    assert "| ours | 1.25 | 0.600 | 0.675 | 1.50 | 100% | 75.0% | 0.75 | 56.2% |" in text
    assert "| light from | 25.0% | 50.0% | 47.5% | 37.5% | 12.5% |" in text
    assert "| ours | 0.875 | 0.600 | 0.650 | 0.700 | 0.750 | 0.800 |" in text
    assert "keeps \\*still\\*" in text and "- something to know" in text
    blank = report_markdown(replace(REPORT, shape=None))
    assert "shape.png" not in blank and "| shape control: rank correlation | - | at least 0.90 | - |" in blank


def test_stopped_on_the_way_nothing_is_left(tmp_path: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise Cancelled(what)

    with pytest.raises(Cancelled, match="rendered true"):
        write_report(lively_engine(), tmp_path / "report", SETTINGS, stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        write_report(lively_engine(), tmp_path, SETTINGS, quiet)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
