"""The paper's Table 3 from reports: a row a model."""

from collections.abc import Mapping

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.evaluation.table import Column, Table
from fantasyid_engine.training.proof.report import Report


def table3(reports: Mapping[str, Report]) -> Table:
    """Reports by the rows' names -> FID, RS, IFS and FM as the paper has them, then rank-1 and mean adherence.

    Raises:
        ConfigError: reports of other people, seeds or sizes than the first: these do not compare.
    """
    same = {name: _measured_with(report) for name, report in reports.items()}
    first = next(iter(same))
    for name, measured_with in same.items():
        if measured_with != same[first]:
            raise ConfigError(
                f"{name} was measured with {measured_with}, {first} with {same[first]}: measure them alike to compare"
            )
    columns = (
        Column(reports[first].fid_label, "lower", ".2f"),
        Column("RS", "higher", ".2f"),
        Column("IFS", "higher", ".2f"),
        Column("FM", "higher", ".2f"),
        Column("rank-1", "higher", ".0%"),
        Column("adherence", "higher", ".0%"),
    )
    ours = {name: report.row("ours") for name, report in reports.items()}
    rows = [(name, (row.fid, row.rs, row.ifs, row.fm, row.rank_1, row.mean_adherence)) for name, row in ours.items()]
    return Table(columns, tuple(rows))


def _measured_with(report: Report) -> str:
    settings = report.settings
    what = f"{settings.people} people, seed {settings.seed}, {report.frames} frames of {report.size} pixels"
    return f"{what}, {report.steps} steps, {report.fid_label}"
