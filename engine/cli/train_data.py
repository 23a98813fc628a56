"""`fantasyid-engine train data`: clips for a recipe, from public data sets or of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fantasyid_engine.cli.screen import complain, put, say

if TYPE_CHECKING:
    from fantasyid_engine.training.data.filters.judge import Filter

data = typer.Typer(help="Make clips to train on: build, filter, prepare.", no_args_is_help=True, rich_markup_mode=None)
EVERY = 100


def _count(what: str, done: int, total: int) -> None:
    if done == total or not done % EVERY:
        complain(f"{what} {done} of {total} clips")


@data.command("build")
def build_command(
    name: Annotated[
        Literal["consisid", "celebv-hq", "openvid"],
        typer.Argument(metavar="NAME", help="consisid, celebv-hq, openvid."),
    ],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set as it was downloaded.")],
) -> None:
    """Write manifest.jsonl, a line a clip, into the folder of a public data set.

    Example: fantasyid-engine train data build openvid data/OpenVid
    """
    from fantasyid_engine.training.data.builders.build import build_manifest

    built = build_manifest(name, folder)
    for entry, reason in built.skipped[:10]:
        complain(f"left out: {entry}: {reason}")
    say(f"wrote {folder / 'manifest.jsonl'}: {built.clips} clips; {len(built.skipped)} entries left out")


@data.command("filter")
def filter_command(
    manifest: Annotated[Path, typer.Argument(help="A manifest, beside its videos.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the report.")],
    faces: Annotated[
        str | None,
        typer.Option("--faces", help="A YuNet network (.onnx), or the word avatars."),
    ] = None,
    subtitles: Annotated[
        Literal["auto", "paddleocr", "rapidocr", "gradients", "none"],
        typer.Option("--subtitles", help="What finds text; auto takes the best that is installed."),
    ] = "auto",
) -> None:
    """Leave out clips with subtitles, or without a sure face.

    What stays is written beside the manifest as kept.jsonl; what fell out, and why, into the report.

    Example: fantasyid-engine train data filter data/OpenVid/manifest.jsonl --faces yunet.onnx --out report
    """
    from fantasyid_engine.training.data.filters.report import run_filters, write_report
    from fantasyid_engine.training.data.manifest import read_manifest, write_manifest

    filters = _filters(faces, subtitles)
    report = run_filters(
        read_manifest(manifest), manifest.parent, filters, on_clip=lambda done, total: _count("looked at", done, total)
    )
    write_report(report, out)
    kept = manifest.with_name("kept.jsonl")
    write_manifest(kept, report.kept)
    put((out / "report.md").read_text(encoding="utf-8").rstrip())
    say(f"wrote {kept} and {out}")


def _filters(faces: str | None, subtitles: str) -> list["Filter"]:
    from fantasyid_engine.face import avatar
    from fantasyid_engine.training.data.faces import YuNetFinder
    from fantasyid_engine.training.data.filters.confidence import SureAvatar, SureFace, SureFinder
    from fantasyid_engine.training.data.filters.paddle_text import open_text_detector
    from fantasyid_engine.training.data.filters.subtitles import Subtitles

    chosen: list[Filter] = []
    if subtitles != "none":
        chosen.append(Subtitles(open_text_detector(subtitles)))
    if faces == "avatars":
        chosen.append(SureFace(faces=SureAvatar(), least=avatar.SURE))
    elif faces is not None:
        chosen.append(SureFace(faces=SureFinder(YuNetFinder.open(Path(faces)))))
    return chosen
