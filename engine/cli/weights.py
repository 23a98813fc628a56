"""`fantasyid-engine weights`: convert and inspect weights."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fantasyid_engine.cli.screen import put, say

weights = typer.Typer(help="Convert and inspect weights.", no_args_is_help=True)


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
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
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
