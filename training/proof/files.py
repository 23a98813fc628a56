"""A report as files: `report.json` with everything, `report.md` to read, and what was rendered beside them."""

import json
from pathlib import Path

from fantasyid_engine.atomic import atomic_folder
from fantasyid_engine.config.serialise import from_json_object, read_json_object, to_json_object
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.proof.goals import GOALS
from fantasyid_engine.training.proof.make import make_report
from fantasyid_engine.training.proof.markdown import report_markdown
from fantasyid_engine.training.proof.people import Tell
from fantasyid_engine.training.proof.report import Report, Settings

FORMAT = "fantasyid-report-1"


def write_report(engine: Engine, folder: Path, settings: Settings, tell: Tell) -> Report:
    """Makes a report in a new folder, which is whole or not there: see `make_report`, which says what it raises.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be created.
    """
    with atomic_folder(folder) as place:
        report = make_report(engine, place, settings, tell=tell)
        (place / "report.json").write_text(report_json(report), encoding="utf-8")
        (place / "report.md").write_text(report_markdown(report), encoding="utf-8")
    return report


def report_json(report: Report) -> str:
    """The content of `report.json`: the goals, and all figures."""
    goals = [
        {"name": goal.name, "value": goal.read(report), "goal": goal.text, "met": goal.met(report)} for goal in GOALS
    ]
    values = {"format": FORMAT, "goals": goals, **to_json_object(report)}
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_report(path: Path) -> Report:
    """The figures in a `report.json`; goals are those of today.

    Raises:
        ConfigError: it is none.
    """
    values = read_json_object(path, ConfigError)
    if values.pop("format", None) != FORMAT:
        raise ConfigError(f"{path} is no report of a model: its format is not {FORMAT}")
    values.pop("goals", None)
    return from_json_object(Report, values, path)
