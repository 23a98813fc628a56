"""What an evaluation leaves in a folder: `evaluation.json` with everything, `table.md` and `report.html`."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.evaluation.measure import ClipMeasures, Evaluation
from fantasyid_engine.evaluation.outputs import write_files
from fantasyid_engine.evaluation.pages import page
from fantasyid_engine.evaluation.pictures import picture_uri
from fantasyid_engine.evaluation.plots import COLOURS, adherence_bars, similarity_line, similarity_over_motion
from fantasyid_engine.evaluation.references import Reference
from fantasyid_engine.evaluation.table import chances, results_table, table_markdown, under_the_table

FORMAT = "fantasyid-evaluation-1"
FILES = ("evaluation.json", "table.md", "report.html")
STRIP = 8
"""Frames of a clip in the report."""
SIDE = 192


@dataclass(frozen=True, slots=True)
class Strips:
    """Pictures for the report, gathered while clips are measured: data URIs of some frames, by video."""

    pictures: dict[str, list[str]] = field(default_factory=dict)

    def add(self, clip: ClipMeasures, frames: NDArray[np.uint8]) -> None:
        """Keeps frames spread evenly over a clip [F, H, W, 3]."""
        places = np.unique(np.linspace(0, len(frames) - 1, STRIP).round().astype(int))
        self.pictures[clip.video] = [picture_uri(frames[place], SIDE) for place in places]


def evaluation_json(evaluation: Evaluation, about: dict[str, Any]) -> str:
    """The content of `evaluation.json`: `about` (settings, versions, machine) and all measures."""
    measures = TypeAdapter(Evaluation).dump_python(evaluation, mode="json")
    return json.dumps({"format": FORMAT} | about | measures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_evaluation(path: Path) -> Evaluation:
    """The measures in an `evaluation.json`.

    Raises:
        InputError: `evaluation_unreadable`, it is none.
    """
    values = read_json_object(path, _Unreadable)
    if values.get("format") != FORMAT:
        raise _Unreadable(f"{path} is no evaluation: its format is not {FORMAT}")
    try:
        return TypeAdapter(Evaluation).validate_json(json.dumps(values))
    except ValueError as error:
        raise _Unreadable(f"{path} is no evaluation: {str(error).splitlines()[0]}") from None


def write_report(
    folder: Path,
    evaluation: Evaluation,
    about: dict[str, Any],
    strips: Strips,
    references: tuple[Reference, ...],
) -> None:
    """Writes all three files, or none.

    Raises:
        OutputError: the folder or a file cannot be written.
    """
    made = evaluation_json(evaluation, about), table_markdown(evaluation), report_html(evaluation, strips, references)
    write_files({folder / name: text for name, text in zip(FILES, made, strict=True)})


def report_html(evaluation: Evaluation, strips: Strips, references: tuple[Reference, ...]) -> str:
    """The report: one page that needs nothing beside it."""
    return page(
        "report.html.jinja",
        evaluation=evaluation,
        table=results_table(evaluation),
        below=under_the_table(evaluation),
        scatter=similarity_over_motion(evaluation.methods),
        bars=adherence_bars(evaluation.methods, chances(evaluation.methods)),
        line=similarity_line,
        colours=COLOURS,
        strips=strips.pictures,
        photos={one_line(str(r.path)): picture_uri(r.picture, SIDE) for r in references},
    )


class _Unreadable(InputError):
    def __init__(self, message: str) -> None:
        super().__init__("evaluation_unreadable", message)
