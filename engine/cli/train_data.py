"""`fantasyid-engine train data`: clips for a recipe, from public data sets or of one's own."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fantasyid_engine.cli.screen import complain, put, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fantasyid_engine.training.data.filters.judge import Filter
    from fantasyid_engine.training.data.sample import TrainingSample

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

    kept = manifest.with_name("kept.jsonl")
    if manifest.name == kept.name:
        raise typer.BadParameter("kept.jsonl is what this writes; give the manifest another name")
    filters = _filters(faces, subtitles)
    report = run_filters(
        read_manifest(manifest), manifest.parent, filters, on_clip=lambda done, total: _count("looked at", done, total)
    )
    write_report(report, out)
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


@data.command("prepare")
def prepare_command(
    manifest: Annotated[Path, typer.Argument(help="A manifest, beside its videos.")],
    out: Annotated[Path, typer.Option("--out", help="The new folder of shards.")],
    model: Annotated[Path, typer.Option("--model", help="The model folder that they are for: its sizes and mesh.")],
    faces: Annotated[Path, typer.Option("--faces", help="A YuNet network (.onnx), which finds faces and landmarks.")],
    vertices: Annotated[
        Path, typer.Option("--vertices", help="A folder with KEY.ply for each clip, as DECA makes them.")
    ],
    views: Annotated[int, typer.Option("--views", min=1, max=100, help="Most different views kept of a face.")] = 6,
    stride: Annotated[int, typer.Option("--stride", min=1, max=100, help="Of so many frames one is taken.")] = 1,
) -> None:
    """Turn the clips of a manifest into shards: frames, face crops from many sides, vertices.

    What cannot be used falls out; OUT.fell-out.json says why.

    Example: fantasyid-engine train data prepare data/kept.jsonl --model models/start --faces yunet.onnx
    --vertices data/vertices --stride 3 --out data/train
    """
    import json

    from fantasyid_engine.atomic import atomic_file
    from fantasyid_engine.training.data.faces import YuNetFinder
    from fantasyid_engine.training.data.manifest import read_manifest
    from fantasyid_engine.training.data.prepare import prepare_samples
    from fantasyid_engine.training.data.shards import write_shards
    from fantasyid_engine.training.start import read_model_config
    from fantasyid_engine.weights.folder import load_hierarchy, model_files

    config, total = read_model_config(model), len(read_manifest(manifest))
    dit, scale = config.network.dit, 2 ** (len(config.vae.block_out_channels) - 1)
    how = {
        "num_frames": dit.sample_frames,
        "size": (dit.sample_height * scale, dit.sample_width * scale),
        "view_size": config.network.tower.image_size,
        "views": views,
        "stride": stride,
    }
    fell_out: list[dict[str, str]] = []
    samples = prepare_samples(
        manifest,
        vertices,
        YuNetFinder.open(faces),
        hierarchy=load_hierarchy(model_files(model).mesh, config.network.mesh),
        on_fall_out=lambda clip, reason: fell_out.append({"key": clip.key, "reason": reason}),
        **how,
    )
    count = write_shards(out, _counted(samples, total, fell_out), about=how)
    report = out.with_name(f"{out.name}.fell-out.json")
    with atomic_file(report) as place:
        place.write_text(json.dumps(fell_out, indent=1) + "\n", encoding="utf-8")
    for gone in fell_out[:10]:
        complain(f"fell out: {gone['key']}: {gone['reason']}")
    say(f"wrote {out}: {count} of {total} clips; why {len(fell_out)} fell out is in {report}")


def _counted(
    samples: "Iterator[TrainingSample]", total: int, fell_out: list[dict[str, str]]
) -> "Iterator[TrainingSample]":
    from fantasyid_engine.errors import InputError

    done = 0
    for done, sample in enumerate(samples, 1):
        _count("prepared", done + len(fell_out), total)
        yield sample
    if not done:
        first = f"; the first, {fell_out[0]['key']}: {fell_out[0]['reason']}" if fell_out else ""
        raise InputError("clips_missing", f"none of {total} clips can be used{first}")
