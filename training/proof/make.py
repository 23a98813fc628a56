"""From a model to its report: renders, then looks."""

from pathlib import Path

from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import one_line
from fantasyid_engine.evaluation.instruments import avatar_instruments
from fantasyid_engine.evaluation.measure import Evaluation
from fantasyid_engine.evaluation.table import under_the_table
from fantasyid_engine.face.draw import write_picture
from fantasyid_engine.runtime.machine import machine, versions
from fantasyid_engine.training.proof.people import Tell, check_model, write_truth
from fantasyid_engine.training.proof.reconstruction import write_reconstructions
from fantasyid_engine.training.proof.render import needs_vertices, without_identity, write_rendered
from fantasyid_engine.training.proof.report import Report, Settings
from fantasyid_engine.training.proof.rows import ROWS, measured_rows
from fantasyid_engine.training.proof.shape_control import DIRECTION, control_shape, has_shape_control
from fantasyid_engine.training.proof.sheets import people_sheet, shape_sheet
from fantasyid_engine.weights.model import Model

SHOWN = 8
"""People on the sheet."""


def make_report(
    engine: Engine,
    place: Path,
    settings: Settings,
    *,
    tell: Tell = lambda what, done, total: None,
) -> Report:
    """Renders people of the test split, and measures what came out.

    Args:
        engine: the model, of avatars.
        place: an empty folder; gets photos, clips (see `people`), `people.png` and `shape.png`.
        settings: what to measure with.
        tell: hears of progress.

    Raises:
        ConfigError: the model's clips cannot be compared with renders of avatars.
        InputError: a photo shows no face that the model's detector finds.
        WriteError: something cannot be written to its end.
    """
    model, instruments = engine.model, avatar_instruments()
    check_model(model)
    subjects = write_truth(model, place, settings, tell)
    psnr = write_reconstructions(model.vae, place, subjects, model.render.fps, tell)
    write_rendered(engine, place, "ours", subjects, settings, tell)
    with without_identity(model.network):
        write_rendered(engine, place, "no-id", subjects, settings, tell)
    found, rows = measured_rows(place, ROWS, instruments, tell)
    side = model.frame_size[0]
    write_picture(people_sheet(place, subjects[:SHOWN], side), place / "people.png")
    shape = None
    if settings.shape and has_shape_control(model):
        shape, pictures = control_shape(engine, subjects, settings, instruments.detector, tell)
        write_picture(shape_sheet(subjects, pictures, shape, side), place / "shape.png")
    return Report(
        model=one_line(Path(model.name).name),
        trained=model.render.trained,
        weights=dict(model.digests),
        settings=settings,
        steps=settings.steps or model.render.num_inference_steps,
        guidance=model.render.guidance_scale,
        frames=model.network.config.dit.sample_frames,
        size=side,
        psnr=psnr,
        fid_label=found.fid_label,
        rows=rows,
        shape=shape,
        notes=(*_notes(found, place), *_own_notes(model, settings)),
        versions=versions(),
        machine=machine(model.vae.device),
    )


def _notes(found: Evaluation, place: Path) -> list[str]:
    """What the evaluation says, with paths from the report's folder."""
    return [line.replace(f"{one_line(str(place))}/", "") for line in under_the_table(found)]


def _own_notes(model: Model, settings: Settings) -> list[str]:
    notes = []
    if not model.render.trained:
        notes.append("the model is not trained: its weights come from a seed, so the pictures are noise")
    if needs_vertices(model):
        notes.append("the model reads no vertices off photos: it was given people's own")
    if not settings.shape:
        notes.append("shape control: left out, as asked for")
    elif not has_shape_control(model):
        notes.append(f"shape control: left out, for the model does not read {DIRECTION} off photos")
    return notes
