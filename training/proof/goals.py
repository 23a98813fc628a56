"""What a trained miniature should reach, and whether it does."""

from collections.abc import Callable
from dataclasses import dataclass

from fantasyid_engine.training.proof.report import Report, Row
from fantasyid_engine.training.proof.shape_control import OURS, WITHOUT


@dataclass(frozen=True, slots=True)
class Goal:
    """One figure of a report: how it is read and written, and between what it should be."""

    name: str
    read: Callable[[Report], float | None]
    form: str
    least: float | None = None
    most: float | None = None

    @property
    def text(self) -> str:
        """The goal in words: `at least 0.80`, `0.70 to 1.30`."""
        if self.most is None:
            return f"at least {self.least:{self.form}}"
        return f"{self.least:{self.form}} to {self.most:{self.form}}"

    def met(self, report: Report) -> bool | None:
        """Whether the figure is within the goal; None where there is no figure."""
        value = self.read(report)
        if value is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def ratio(read: Callable[[Row], float | None]) -> Callable[[Report], float | None]:
    """A measure of `ours` over that of `true`; None where either is missing, or the latter 0."""

    def found(report: Report) -> float | None:
        ours, true = read(report.row("ours")), read(report.row("true"))
        return None if ours is None or not true else ours / true

    return found


def _correlation(row: str) -> Callable[[Report], float | None]:
    return lambda report: None if report.shape is None else report.shape.row(row).correlation


GOALS = (
    Goal("VAE: PSNR of unseen clips, dB", lambda report: report.psnr, ".1f", least=34.0),
    Goal("RS, ours / true", ratio(lambda row: row.rs), ".2f", least=0.80),
    Goal("IFS, ours / true", ratio(lambda row: row.ifs), ".2f", least=0.90),
    Goal("FM, ours / true", ratio(lambda row: row.fm), ".2f", least=0.70, most=1.30),
    Goal("adherence, mean over attributes", lambda report: report.row("ours").mean_adherence, ".1%", least=0.85),
    Goal("rank-1", lambda report: report.row("ours").rank_1, ".1%", least=0.80),
    Goal("sharpness of faces, ours / true", ratio(lambda row: row.sharpness), ".2f", least=0.60),
    Goal("shape control: rank correlation", _correlation(OURS), ".2f", least=0.90),
    Goal("the same without vertices", _correlation(WITHOUT), ".2f", least=-0.30, most=0.30),
)
