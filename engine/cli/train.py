"""`fantasyid-engine train`: weights from a recipe. `train RECIPE` means `train run RECIPE`."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fantasyid_engine.cli.screen import complain, say
from fantasyid_engine.cli.train_data import data
from fantasyid_engine.cli.train_perception import perception
from fantasyid_engine.cli.train_report import report, table3


class _RunsRecipes(TyperGroup):
    """A group whose command is `run` where the first word is none of its commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["run", *args]
        return super().resolve_command(ctx, args)


train = typer.Typer(
    cls=_RunsRecipes,
    help="Train models.\n\nExample: fantasyid-engine train avatar-mini --out runs/mini",
    no_args_is_help=True,
    rich_markup_mode=None,
)
train.command("avatar-perception")(perception)
train.command("report")(report)
train.command("table3")(table3)
train.add_typer(data, name="data")


@train.command("run")
def run_command(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="One of the package (see: train recipes), or a .toml file.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The run's folder; the same one goes on where it stopped.")],
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Pass through every stage in a minute or two; nothing is learnt.")
    ] = False,
    cpu: Annotated[bool, typer.Option("--cpu", help="Do not use a GPU.")] = False,
    stages_of: Annotated[
        Path | None,
        typer.Option("--stages-of", metavar="RUN", help="A new run begins with the stages of this one that it shares."),
    ] = None,
) -> None:
    """Train a model as a recipe says.

    Stopped by a signal it saves its state; given again, the same command goes on, exactly where it was.

    Example: fantasyid-engine train run avatar-mini --out runs/mini

    Example: fantasyid-engine train avatar-mini --smoke --out runs/try

    Example: fantasyid-engine train avatar-mini-without-face-vertices --stages-of runs/mini --out runs/without

    On eight GPUs: torchrun --nproc-per-node 8 --no-python fantasyid-engine train paper-5b --out runs/5b
    """
    from fantasyid_engine.errors import Cancelled

    _check_installed()
    from fantasyid_engine.training.recipe_file import read_recipe
    from fantasyid_engine.training.run import train as train_recipe
    from fantasyid_engine.training.share import share_stages
    from fantasyid_engine.training.smoke import smoke as cut_down

    wanted = read_recipe(recipe)
    with _asked_to_stop() as signals:
        try:
            if smoke:
                wanted = cut_down(wanted, processes=int(os.environ.get("WORLD_SIZE", "1")))
            # Processes that torchrun started wait for the first one when they open their group.
            if stages_of and os.environ.get("RANK", "0") == "0" and not (out / "recipe.json").is_file():
                taken = share_stages(wanted, out, stages_of) or ["the clips"]
                say(f"begins with {', '.join(taken)} of {stages_of}")
            train_recipe(wanted, out, say, cpu=cpu, interrupted=lambda: bool(signals))
        except Cancelled as stop:
            complain(f"{stop}; the same command goes on")
            raise typer.Exit(128 + signals[0] if signals else Cancelled.exit_code) from None


def _check_installed() -> None:
    """Raises ConfigError where what only training needs is not installed."""
    from importlib.util import find_spec

    from fantasyid_engine.errors import ConfigError

    missing = [name for name in ("accelerate", "tensorboard") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {' and '.join(missing)}: pip install 'fantasyid-engine[training]'")


@contextmanager
def _asked_to_stop() -> Iterator[list[int]]:
    """Signals that came, while training; the second of a kind ends it as usual."""
    came: list[int] = []

    def take(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.signal(number, before[number])

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Any] = {number: signal.signal(number, take) for number in numbers}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@train.command("recipes")
def recipes_command() -> None:
    """List the recipes of the package.

    Example: fantasyid-engine train recipes
    """
    from fantasyid_engine.training.recipe_file import describe_recipes

    for line in describe_recipes():
        say(line)


@train.command("export")
def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run's folder.")],
    out: Annotated[Path, typer.Argument(metavar="DIR", help="The new model folder.")],
    checkpoint: Annotated[
        Path | None, typer.Option("--checkpoint", help="One of the run's checkpoints; the newest state, if left out.")
    ] = None,
    best: Annotated[
        bool, typer.Option("--best", help="The last stage's checkpoint with the lowest validation loss.")
    ] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The weights themselves, not their moving average.")] = False,
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16: files of half the size.")] = False,
) -> None:
    """Write what a run has made as a model folder that renders.

    Example: fantasyid-engine train export runs/mini models/mini
    """
    _check_installed()
    from fantasyid_engine.training.export_run import export_run

    if best and checkpoint is not None:
        raise typer.BadParameter("--best and --checkpoint name two checkpoints; leave one out")
    said = export_run(run, out, checkpoint=checkpoint, best=best, averaged=not raw, half=half)
    say(f"wrote {out}: {said}")


@train.command("init")
def init_command(
    released: Annotated[Path, typer.Option("--from-released", metavar="DIR", help="The released model's folder.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new model folder.")],
    without: Annotated[
        list[str] | None,
        typer.Option("--without", help="A row of the paper's Table 3; see the recipes. May be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Of the weights that start anew.")] = 0,
) -> None:
    """Start a model of the paper's form from the released one.

    Its DiT, tower, VAE and text encoder are taken over; face modules and injection start anew.

    Example: fantasyid-engine train init --from-released models/fantasyid-5b models/start
    """
    from fantasyid_engine.training.init_released import init_from_released

    init_from_released(released, out, without=without or (), seed=seed)
    say(f"wrote {out}")
