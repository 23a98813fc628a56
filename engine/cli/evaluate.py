"""`fantasyid-engine evaluate`: the paper's measures of videos, and its user study."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fantasyid_engine.cli.screen import complain, put, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fantasyid_engine.evaluation.clips import Method
    from fantasyid_engine.evaluation.references import Reference


def evaluate(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[VIDEOS]...", help="Videos, folders of PNG pictures, folders of either: a row each."),
    ] = None,
    references: Annotated[
        list[Path] | None, typer.Option("--references", help="A photo, or a folder of photos, of the people shown.")
    ] = None,
    real: Annotated[
        Path | None, typer.Option("--real", help="Real pictures or videos for the FID; the references if not given.")
    ] = None,
    arcface: Annotated[
        Path | None, typer.Option("--arcface", help="Real faces: an ArcFace network, .onnx. Without it, avatars.")
    ] = None,
    inception: Annotated[
        Path | None, typer.Option("--inception", help="An InceptionV3 network, .onnx, for the FID of real faces.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder for evaluation.json, table.md and report.html.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    study: Annotated[
        Path | None, typer.Option("--study", help="Make a blind rating page, .html; measures only with --out as well.")
    ] = None,
    answers: Annotated[
        list[Path] | None, typer.Option("--answers", help="A file that a rater saved from --study, which it scores.")
    ] = None,
) -> None:
    """Measure generated videos as the paper does: FID, RS, IFS, FM; or let people rate them.

    A video belongs to the photo that its sidecar names, or that has its name, or to the only one.

    Example: fantasyid-engine evaluate out/ours out/baseline --references people --out report

    Example: fantasyid-engine evaluate out/ours out/baseline --references people --study page.html

    Example: fantasyid-engine evaluate --study page.html --answers anna.json --answers ben.json
    """
    if answers:
        if study is None:
            raise typer.BadParameter("--answers needs the --study that they are of")
        if videos or references or real or arcface or inception:
            raise typer.BadParameter("--answers is scored alone, with --study and --out only")
        _score(study, answers, out, overwrite)
        return
    if not videos:
        raise typer.BadParameter("name videos, or --study with --answers")
    if not references:
        raise typer.BadParameter("needs --references, the photos of the people shown")
    if inception and not arcface:
        raise typer.BadParameter("--inception is for real faces, and needs --arcface")
    if study and not out and (real or arcface):
        raise typer.BadParameter("--study alone measures nothing; leave out --real and --arcface, or add --out")
    from fantasyid_engine.evaluation.clips import find_methods
    from fantasyid_engine.evaluation.outputs import check_folder
    from fantasyid_engine.evaluation.references import read_references
    from fantasyid_engine.evaluation.report import FILES
    from fantasyid_engine.evaluation.study import check_study

    if study:
        check_study(study, overwrite=overwrite)
    if out:
        check_folder(out, FILES, overwrite=overwrite)
    methods, photos = find_methods(videos), read_references(references)
    if study:
        _make_study(study, methods, photos)
    if out or not study:
        _measure(methods, photos, real, arcface, inception, out)


def _make_study(page: Path, methods: "Sequence[Method]", photos: "Sequence[Reference]") -> None:
    import secrets

    from fantasyid_engine.evaluation.study import key_path, write_study

    def show(done: int, total: int) -> None:
        complain(f"encoded {done} of {total} videos")

    write_study(page, methods, photos, seed=secrets.randbits(32), on_video=show)
    say(f"wrote {page}: {sum(len(method.clips) for method in methods)} videos to rate")
    say(f"wrote {key_path(page)}: which is which; keep it from the raters")


def _score(page: Path, files: list[Path], out: Path | None, overwrite: bool) -> None:
    from fantasyid_engine.evaluation.answers import read_answers, read_key, study_result
    from fantasyid_engine.evaluation.outputs import check_folder, write_files

    names = ("study.json", "study.md")
    if out:
        check_folder(out, names, overwrite=overwrite)
    key = read_key(page)
    result = study_result(key, read_answers(files, key))
    if out:
        write_files({out / name: text for name, text in zip(names, (result.json(), result.markdown()), strict=True)})
    put(result.table().text())
    for line in result.below():
        say(line)
    if out:
        say(f"wrote {out}")


def _measure(
    methods: "Sequence[Method]",
    photos: "tuple[Reference, ...]",
    real: Path | None,
    arcface: Path | None,
    inception: Path | None,
    out: Path | None,
) -> None:
    from fantasyid_engine.errors import InputError
    from fantasyid_engine.evaluation.instruments import choose_instruments
    from fantasyid_engine.evaluation.measure import evaluate as measure
    from fantasyid_engine.evaluation.real import read_real
    from fantasyid_engine.evaluation.report import Strips, write_report
    from fantasyid_engine.evaluation.table import results_table, under_the_table

    instruments = choose_instruments(arcface, inception)
    strips = Strips()

    def show(done: int, total: int, clip: Any, frames: Any) -> None:
        complain(f"measured {done} of {total} videos: {clip.video}")
        if out:
            strips.add(clip, frames)

    def count(done: int, total: int) -> None:
        if done == total or not done % 100:
            complain(f"looked at {done} of {total} real files")

    try:
        pictures = read_real(real, instruments, on_file=count) if real else None
        found = measure(methods, photos, instruments, real=pictures, on_clip=show)
    except InputError as error:
        if arcface is None and error.code in ("face_not_found", "real_missing"):
            raise InputError(error.code, f"{error}; for photos of real people add --arcface") from None
        raise
    if out:
        write_report(out, found, _about(photos, real, arcface, inception), strips, photos)
    put(results_table(found).text())
    for line in under_the_table(found):
        say(line)
    if out:
        say(f"wrote {out}")


def _about(
    photos: "tuple[Reference, ...]", real: Path | None, arcface: Path | None, inception: Path | None
) -> dict[str, Any]:
    """What `evaluation.json` says besides the measures."""
    import torch

    from fantasyid_engine.errors import one_line
    from fantasyid_engine.evaluation.onnx_networks import runtime_version
    from fantasyid_engine.runtime.machine import machine, versions
    from fantasyid_engine.weights.manifest import sha256

    networks = {"arcface": arcface, "inception": inception}
    return {
        "settings": {
            "references": {one_line(str(photo.path)): photo.sha256 for photo in photos},
            "real": one_line(str(real)) if real else None,
            "networks": {
                name: {"file": one_line(str(file)), "sha256": sha256(file)} for name, file in networks.items() if file
            },
        },
        "versions": versions() | ({"onnxruntime": runtime_version()} if arcface else {}),
        "machine": machine(torch.device("cpu")),
    }
