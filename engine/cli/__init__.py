"""The command line. Errors end as one line on standard error and the exit code of their class."""

import logging
import signal
import sys
import warnings
from types import FrameType
from typing import Annotated

import typer

from fantasyid_engine import __version__
from fantasyid_engine.cli.avatars import avatars
from fantasyid_engine.cli.doctor import doctor
from fantasyid_engine.cli.evaluate import evaluate
from fantasyid_engine.cli.faces import faces
from fantasyid_engine.cli.generate import generate
from fantasyid_engine.cli.screen import complain, say
from fantasyid_engine.cli.serve import serve
from fantasyid_engine.cli.train import train
from fantasyid_engine.cli.verify import verify
from fantasyid_engine.cli.weights import weights
from fantasyid_engine.errors import EngineError, WriteError

app = typer.Typer(
    help="One photo of a face and one prompt in, a video of that person out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("generate")(generate)
app.command("evaluate")(evaluate)
app.command("avatars")(avatars)
app.command("doctor")(doctor)
app.command("verify")(verify)
app.add_typer(faces, name="faces")
app.add_typer(serve, name="serve")
app.add_typer(train, name="train")
app.add_typer(weights, name="weights")


def show_version(wanted: bool) -> None:
    """Prints the version and leaves."""
    if wanted:
        say(f"fantasyid-engine {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and leave.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """Options of all commands."""


def main() -> None:
    """Entry point of `fantasyid-engine`."""
    # Leave through the context managers on the way, so that nothing half-written stays.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    if not sys.warnoptions:
        # What libraries warn and log of is for programmers; errors are one line here.
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
    try:
        app()
    except EngineError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except OSError as error:
        complain(f"{error.strerror or error}" + (f": {error.filename}" if error.filename else ""))
        sys.exit(WriteError.exit_code)


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
