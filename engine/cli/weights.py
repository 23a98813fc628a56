"""`fantasyid-engine weights`: fetch, check, list, convert and inspect weights."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fantasyid_engine.cli.screen import complain, put, say
from fantasyid_engine.errors import WeightsError, some_of

if TYPE_CHECKING:
    from fantasyid_engine.weights.licences import Licence
    from fantasyid_engine.weights.present import PresetReport

weights = typer.Typer(help="Fetch, check, list, convert and inspect weights.", no_args_is_help=True)
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@weights.command("pull")
def pull_command(
    preset: Annotated[str, typer.Argument(metavar="PRESET", help="What to fetch: fantasyid-5b.")],
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit; else the commit of the first pull.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", metavar="URL", help="A mirror of the hub; else HF_ENDPOINT.")
    ] = None,
    accept_licences: Annotated[
        bool, typer.Option("--accept-licences", help="Accept the terms that `weights licences` shows.")
    ] = False,
) -> None:
    """Fetch a preset into $FANTASYID_MODELS, compare every file with what the hub states, and convert it.

    Stopped or killed, the same command goes on; when all is there it fetches nothing.

    Example: fantasyid-engine weights pull fantasyid-5b
    """
    from fantasyid_engine.weights.home import model_home
    from fantasyid_engine.weights.licences import accept, not_accepted
    from fantasyid_engine.weights.pull import pull
    from fantasyid_engine.weights.sources import source_of

    home = model_home()
    source_of(preset)
    new = not_accepted(home)
    asks = sys.stdin.isatty() and not accept_licences
    if new and (asks or accept_licences):
        for row in new:
            _say_licence(row)
        if accept_licences or typer.confirm("Do you accept these terms, as they stand at those addresses?"):
            accept(home, new)
    pull(preset, home, revision=revision, endpoint=endpoint, tell=say)

    from fantasyid_engine.weights.present import look_at

    _say_errands(look_at(preset, home))


@weights.command("verify")
def verify_command(
    model: Annotated[
        str | None, typer.Argument(metavar="PRESET|DIR", help="What to check; else every preset that is here.")
    ] = None,
) -> None:
    """Compare every file of a model folder with its manifest.

    Example: fantasyid-engine weights verify fantasyid-5b
    """
    from fantasyid_engine.config.presets import PRESETS
    from fantasyid_engine.weights.home import model_home
    from fantasyid_engine.weights.present import check_folder, folder_of, look_at_all

    home = model_home()
    if model is None:
        folders = [Path(report.folder) for report in look_at_all(home) if report.state != "absent"]
    else:
        folders = [folder_of(model, home) if model in PRESETS else Path(model)]
    bad = []
    for folder in folders:
        results = list(check_folder(folder))
        for _, problem in results:
            if problem:
                complain(problem)
        bad += [f"{folder.name}/{name}" for name, problem in results if problem]
        good = sum(not problem for _, problem in results)
        say(f"{folder}: {good} of {len(results)} files are as in its manifest")
    if bad:
        raise WeightsError(f"not as in the manifest: {some_of(bad)}; remove them, then pull or convert again")


@weights.command("list")
def list_command(as_json: AsJson = False) -> None:
    """Show which presets are on this machine, and what is left to fetch by hand.

    Example: fantasyid-engine weights list
    """
    from fantasyid_engine.weights.home import model_home
    from fantasyid_engine.weights.present import look_at_all

    reports = look_at_all(model_home())
    if as_json:
        put(json.dumps({"presets": [asdict(report) for report in reports]}, indent=1))
        return
    for report in reports:
        say(f"{report.name:<16}{report.state:<12}{report.folder}" + (f": {report.problem}" if report.problem else ""))
        for part in report.optional:
            say(f"  {part.place}: {'there' if part.there else f'not there, {part.without}'}")
        _say_errands(report)


@weights.command("licences")
def licences_command(as_json: AsJson = False) -> None:
    """Show whose work the weights are, on what terms, and where these stand.

    A pointer to the terms, not the terms, and no legal advice.

    Example: fantasyid-engine weights licences
    """
    from fantasyid_engine.weights.licences import LICENCES

    if as_json:
        put(json.dumps({"licences": [asdict(row) for row in LICENCES]}, indent=1))
        return
    for row in LICENCES:
        _say_licence(row)


@weights.command("convert")
def convert_command(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="A .bin, .pt, .pth, .ckpt, .tar or .pkl file, or a model folder.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DST", help="The .safetensors file, or the new folder, to make.")],
) -> None:
    """Turn pickled weights into safetensors.

    Nothing in a pickle ever runs.
    A folder in the authors' layout becomes a folder of the same layout that the engine loads, with a SHA-256 manifest.

    Example: fantasyid-engine weights convert transform.pkl model/face_encoder/mesh.safetensors
    """
    from fantasyid_engine.weights.convert import convert

    for line in convert(source, target):
        say(line)


@weights.command("inspect")
def inspect_command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A model folder, in the authors' layout or our own.")],
    as_json: AsJson = False,
) -> None:
    """Show what a model folder holds.

    Modules with parameters, live share and dtypes; files with SHA-256, compared with the folder's manifest.

    Example: fantasyid-engine weights inspect models/fantasyid-5b
    """
    from fantasyid_engine.weights.inspect import inspect_folder

    report = inspect_folder(folder)
    if as_json:
        put(json.dumps(asdict(report), indent=1))
        return
    counts = f"{report.layers} layers, {report.injections} injections, {report.id_tokens} ID tokens a face"
    say(f"{report.form} form: {counts}")
    say(f"{'module':<28}{'tensors':>9}{'parameters':>16}{'live':>9}  dtype")
    for module in report.modules:
        live = live_share(module.parameters, module.dead)
        dtypes = ", ".join(f"{dtype} x {count}" for dtype, count in module.dtypes.items())
        say(f"{module.name:<28}{module.tensors:>9}{module.parameters:>16,}{live:>9}  {dtypes}")
    total, dead = sum(m.parameters for m in report.modules), sum(m.dead for m in report.modules)
    say(f"{'total':<28}{sum(m.tensors for m in report.modules):>9}{total:>16,}{live_share(total, dead):>9}")
    for dead_report in report.dead:
        say(f"not loaded: {dead_report.tensors} tensors, {dead_report.parameters:,} parameters: {dead_report.reason}")
    for file in report.files:
        say(f"sha256 {file.sha256}  {file.size_bytes:>14,} bytes  {file.path}")


def live_share(parameters: int, dead: int) -> str:
    """Percent of the parameters that are loaded; 100.0% only where all are."""
    return f"{1000 * (parameters - dead) // max(1, parameters) / 10}%"


def _say_licence(row: "Licence") -> None:
    say(f"{row.name}: {row.used}")
    say(f"  {'NON-COMMERCIAL: ' if row.non_commercial else ''}{row.terms}")
    say(f"  {row.url}")


def _say_errands(report: "PresetReport") -> None:
    for errand in report.errands:
        say(f"  to fetch by hand ({'needed' if errand.needed else 'optional'}): {errand.file}: {errand.origin}")
        say(f"    {errand.command}")
