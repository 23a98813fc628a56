"""Numbers as the paper prints them: a row a method, the best of each column in bold.

As text for a terminal, and as Markdown; what comes from outside is escaped for each.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fantasyid_engine.errors import one_line
from fantasyid_engine.evaluation.measure import Evaluation, MethodMeasures

Better = Literal["higher", "lower", None]
MISSING = "-"


@dataclass(frozen=True, slots=True)
class Column:
    """Title, which direction is better, and how a number is written."""

    title: str
    better: Better
    form: str

    @property
    def heading(self) -> str:
        """The title with its arrow, as the paper has it."""
        return self.title + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]

    def text(self, value: float | None) -> str:
        """A number, or a dash where there is none."""
        return MISSING if value is None else format(value, self.form)


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of numbers, and rows of (name, a number a column)."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]

    @property
    def best(self) -> tuple[tuple[bool, ...], ...]:
        """Whether each number is its column's best, as it is printed; nothing is, in a table of one row."""
        marks = [self._best_of(index) for index in range(len(self.columns))]
        return tuple(zip(*marks, strict=True)) if marks else tuple(() for _ in self.rows)

    def _best_of(self, index: int) -> list[bool]:
        column, values = self.columns[index], [values[index] for _, values in self.rows]
        known = [value for value in values if value is not None]
        if column.better is None or len(self.rows) < 2 or not known:
            return [False] * len(values)
        best = column.text(max(known) if column.better == "higher" else min(known))
        return [column.text(value) == best for value in values]

    @property
    def cells(self) -> tuple[tuple[str, ...], ...]:
        """Rows of text, without names."""
        return tuple(
            tuple(column.text(value) for column, value in zip(self.columns, values, strict=True))
            for _, values in self.rows
        )

    def text(self) -> str:
        """Lines for a terminal, columns aligned."""
        return "\n".join(self._lines(one_line, "  ", lambda cell, best: cell))

    def markdown(self) -> str:
        """A Markdown table; the best of each column in bold."""
        head, *rows = self._lines(markdown_text, " | ", lambda cell, best: f"**{cell}**" if best else cell)
        rule = " | ".join(["---", *("---:" for _ in self.columns)])
        return "\n".join(f"| {line} |" for line in (head, rule, *rows))

    def _lines(self, escape: Callable[[str], str], between: str, mark: Callable[[str, bool], str]) -> list[str]:
        grid = [["", *(escape(column.heading) for column in self.columns)]]
        for (name, _), cells, best in zip(self.rows, self.cells, self.best, strict=True):
            grid.append([escape(name), *map(mark, cells, best)])
        widths = [max(len(row[i]) for row in grid) for i in range(len(grid[0]))]
        return [
            between.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            if between == "  "
            else between.join(row)
            for row in grid
        ]


def results_table(evaluation: Evaluation) -> Table:
    """The paper's Table 2 for an evaluation: FID, RS, IFS, FM, then the share of frames with faces, then adherence."""
    columns = [
        (Column(evaluation.fid_label, "lower", ".2f"), lambda row: row.fid),
        (Column("RS", "higher", ".2f"), lambda row: row.rs),
        (Column("IFS", "higher", ".2f"), lambda row: row.ifs),
        (Column("FM", "higher", ".2f"), lambda row: row.fm),
        (Column("faces", "higher", ".0%"), lambda row: row.faces),
        *(_adherence_column(name, chance) for name, chance in chances(evaluation.methods).items()),
    ]
    rows = [(method.name, tuple(read(method) for _, read in columns)) for method in evaluation.methods]
    return Table(tuple(column for column, _ in columns), tuple(rows))


def chances(methods: Sequence[MethodMeasures]) -> dict[str, float]:
    """The attributes that any row was scored for, with what guessing would score."""
    return {name: score.chance for method in methods for name, score in method.adherence.items()}


def _adherence_column(name: str, chance: float) -> tuple[Column, Callable[[MethodMeasures], float | None]]:
    def read(method: MethodMeasures) -> float | None:
        score = method.adherence.get(name)
        return None if score is None else score.share

    return Column(f"{name.replace('_', ' ')} (chance {chance:.0%})", "higher", ".0%"), read


def under_the_table(evaluation: Evaluation) -> list[str]:
    """What a reader needs to read the numbers, a line each."""
    crops = ", ".join(f"{method.name} {method.fid_crops}" for method in evaluation.methods)
    return [
        f"{evaluation.fid_label}: face crops of {crops}; against {evaluation.fid_against_crops} of "
        f"{evaluation.fid_against}",
        "RS, IFS: cosines; FM: pixels of a 224-pixel face square per frame; faces: share of frames with a face",
        *evaluation.notes,
    ]


def table_markdown(evaluation: Evaluation) -> str:
    """The content of `table.md`."""
    lines = [f"- {markdown_text(line)}" for line in under_the_table(evaluation)]
    return "\n".join([results_table(evaluation).markdown(), "", *lines, ""])


def markdown_text(text: str) -> str:
    """Text from outside, so that Markdown and HTML in it stay text."""
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", one_line(text).replace("&", "&amp;").replace("<", "&lt;"))
