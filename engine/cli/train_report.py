"""`fantasyid-engine train report` and `train table3`: what trained models of avatars can do."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fantasyid_engine.cli.screen import complain, put, say

EVERY = 8


def report(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="avatar-mini, or a model folder.")],
    out: Annotated[Path, typer.Option("--out", help="A new folder for report.json, report.md, pictures and clips.")],
    people: Annotated[int, typer.Option("--people", min=1, max=9999, help="How many, with a clip each.")] = 64,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, max=1000, help="Denoising steps; the model's own if not given.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of people, clips and noise.")] = 0,
    without_shape: Annotated[bool, typer.Option("--without-shape", help="Do not measure shape control.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option("--precision", help="Of the networks' numbers.")
    ] = "auto",
) -> None:
    """Measure a model of avatars on people and prompts that no training sees; minutes on a CPU.

    Each figure stands beside what a trained miniature should reach.

    Example: fantasyid-engine train report models/mini --out out/report
    """
    from fantasyid_engine.engine import Engine
    from fantasyid_engine.training.proof.files import write_report
    from fantasyid_engine.training.proof.goals import GOALS
    from fantasyid_engine.training.proof.markdown import goal_cells, measures_table
    from fantasyid_engine.training.proof.report import Settings

    settings = Settings(people=people, steps=steps, seed=seed, shape=not without_shape)
    with Engine.open(model, device=device, precision=precision) as engine:
        made = write_report(engine, out, settings, _count)
    put(measures_table(made).text())
    for goal in GOALS:
        name, value, wanted, reached = goal_cells(goal, made)
        say(f"{name}: {value}; goal {wanted}: {reached}")
    say(f"wrote {out}")


def table3(
    reports: Annotated[
        list[str], typer.Argument(metavar="ROW=DIR...", help="Rows by name, and their reports' folders.")
    ],
    out: Annotated[Path | None, typer.Option("--out", help="A Markdown file for the table.")] = None,
) -> None:
    """Print reports as the paper's Table 3: a row a model, all measured on the same people.

    Example: fantasyid-engine train table3 "w/o FV=out/without" FantasyID=out/report --out table3.md
    """
    from fantasyid_engine.atomic import atomic_file
    from fantasyid_engine.training.proof.files import read_report
    from fantasyid_engine.training.proof.table3 import table3 as make_table

    rows: dict[str, Path] = {}
    for word in reports:
        name, given, folder = word.partition("=")
        if not given or not name or not folder:
            raise typer.BadParameter(f"{word!r} is not ROW=DIR")
        if name in rows:
            raise typer.BadParameter(f"the row {name!r} is there twice")
        rows[name] = Path(folder)
    table = make_table({name: read_report(folder / "report.json") for name, folder in rows.items()})
    if out:
        with atomic_file(out) as place:
            place.write_text(f"{table.markdown()}\n", encoding="utf-8")
    put(table.text())
    if out:
        say(f"wrote {out}")


def _count(what: str, done: int, total: int) -> None:
    if done == total or not done % EVERY:
        complain(f"{what}: {done} of {total} clips")
