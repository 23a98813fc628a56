"""A report to read."""

from fantasyid_engine.evaluation.table import MISSING, Column, Table, markdown_text
from fantasyid_engine.training.proof.goals import GOALS, Goal
from fantasyid_engine.training.proof.report import Report, ShapeControl

ANSWERS = {True: "yes", False: "no", None: MISSING}


def report_markdown(report: Report) -> str:
    """The content of `report.md`."""
    people, name = report.settings.people, markdown_text(report.model)
    parts = [
        f"# {name}, measured",
        f"{people} people of the test split, whom no training sees, a clip each: {report.frames} frames of "
        f"{report.size} x {report.size}, {report.steps} steps, guidance {report.guidance:g}, "
        f"seed {report.settings.seed}.",
        goals_markdown(report),
        "## The paper's measures",
        "`true`: rendered by the world itself; `vae`: these through the VAE, the ceiling; `ours`: photo and prompt "
        "through the engine; `no-id`: the same with the face's keys and values zero.",
        measures_table(report).markdown(),
        "\n".join(f"- {markdown_text(note)}" for note in (*report.notes, *_reading(report))),
        "## What prompts name, and clips show",
        "As the observer reads clips; on true ones, that is how well it reads.",
        adherence_table(report).markdown(),
        "## People",
        "![photo, true clip, ours](people.png)",
    ]
    if report.shape is not None:
        shape = report.shape
        parts += [
            "## Shape control",
            f'{shape.people} people, prompt "{markdown_text(shape.prompt)}": width over height of the face at settings '
            f"of `{shape.direction}`, in standard deviations; `no vertices` has the template's at every setting.",
            shape_table(shape).markdown(),
            "![photo, then each setting](shape.png)",
        ]
    return "\n\n".join(parts) + "\n"


def goal_cells(goal: Goal, report: Report) -> tuple[str, str, str, str]:
    """Name, figure, goal, and `yes` or `no`."""
    value = goal.read(report)
    return goal.name, MISSING if value is None else format(value, goal.form), goal.text, ANSWERS[goal.met(report)]


def goals_markdown(report: Report) -> str:
    """A row a goal."""
    rows = [("figure", "measured", "goal", "reached"), ("---", "---:", "---:", "---")]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (*rows, *(goal_cells(goal, report) for goal in GOALS)))


def measures_table(report: Report) -> Table:
    """A row each of `true`, `vae`, `ours` and `no-id`; none is marked best, for they do not compete."""
    true = report.row("true").sharpness
    forms = {report.fid_label: ".2f", "RS": ".3f", "IFS": ".3f", "FM": ".2f", "faces": ".0%"}
    forms |= {"rank-1": ".1%", "sharpness / true": ".2f", "adherence": ".1%"}
    rows = [
        (
            row.name,
            (
                *(row.fid, row.rs, row.ifs, row.fm, row.faces, row.rank_1),
                row.sharpness / true if row.sharpness is not None and true else None,
                row.mean_adherence,
            ),
        )
        for row in report.rows
    ]
    return Table(tuple(Column(title, None, form) for title, form in forms.items()), tuple(rows))


def adherence_table(report: Report) -> Table:
    """A row an attribute: what guessing scores, the classifier's accuracy on true clips, then the other rows."""
    titles = ("chance", *(f"{row.name} (classifier)" if row.name == "true" else row.name for row in report.rows))
    rows = [
        (name.replace("_", " "), (score.chance, *(row.adherence[name].share for row in report.rows)))
        for name, score in report.row("true").adherence.items()
    ]
    return Table(tuple(Column(title, None, ".1%") for title in titles), tuple(rows))


def shape_table(shape: ShapeControl) -> Table:
    """A row each of `true`, `ours` and `no vertices`: the rank correlation, then the mean ratio at each setting."""
    columns = Column("rank correlation", None, ".3f"), *(Column(f"{s:+g}", None, ".3f") for s in shape.settings)
    return Table(columns, tuple((row.name, (row.correlation, *row.ratios)) for row in shape.rows))


def _reading(report: Report) -> tuple[str, ...]:
    return (
        f"rank-1: share of clips whose nearest photo, of {report.settings.people}, is that of their person; chance "
        f"{1 / report.settings.people:.1%}",
        "sharpness: mean gradient of the grey picture in the head's box",
    )
