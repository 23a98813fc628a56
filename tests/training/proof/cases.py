"""Reports made by hand, and a small engine whose injections are not idle, that tests of the proof share."""

from functools import lru_cache
from pathlib import Path

import torch

from fantasyid_engine.engine import Engine
from fantasyid_engine.evaluation.adherence import Score
from fantasyid_engine.training.proof.people import Subject, write_truth
from fantasyid_engine.training.proof.report import Report, Row, Settings, ShapeControl, ShapeRow
from fantasyid_engine.weights.model import Model
from tests.training.cases import tiny_model

SETTINGS = Settings(people=2, steps=1, seed=3)


def quiet(what: str, done: int, total: int) -> None:
    """Hears of progress, and says nothing."""


def lively_model() -> Model:
    """The tiny model, whose face and vertices reach the picture: new injections add nothing."""
    model = tiny_model()
    generator = torch.Generator().manual_seed(0)
    for name, weight in model.network.named_parameters():
        if name.startswith("dit.injections") and name.endswith("norm.weight"):
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return model


@lru_cache(maxsize=1)
def lively_engine() -> Engine:
    return Engine(lively_model())


def subjects(place: Path) -> tuple[Subject, ...]:
    """Two people, with photos and true clips in `place`."""
    return write_truth(lively_engine().model, place, SETTINGS, quiet)


def row(name: str, share: float = 1.0) -> Row:
    """A row whose measures are `share` of perfect ones."""
    return Row(
        name=name,
        fid=1.25,
        rs=0.8 * share,
        ifs=0.9 * share,
        fm=2.0 * share,
        faces=1.0,
        rank_1=share,
        sharpness=20.0 * share,
        adherence={"motion": Score(share, 4, 1 / 9), "light_from": Score(share / 2, 2, 0.25)},
    )


SHAPE = ShapeControl(
    direction="face_width",
    settings=(-2.0, -1.0, 0.0, 1.0, 2.0),
    people=2,
    prompt="keeps *still*",
    rows=(
        ShapeRow(name="true", correlation=1.0, ratios=(0.5, 0.6, 0.7, 0.8, 0.9)),
        ShapeRow(name="ours", correlation=0.875, ratios=(0.6, 0.65, 0.7, 0.75, 0.8)),
        ShapeRow(name="no vertices", correlation=0.0, ratios=(0.7, 0.7, 0.7, 0.7, 0.7)),
    ),
)
REPORT = Report(
    model="mine|<b>",
    trained=True,
    weights={"network": "0" * 64},
    settings=Settings(people=4),
    steps=50,
    guidance=3.0,
    frames=9,
    size=64,
    psnr=34.5,
    fid_label="FID-avatar",
    rows=(row("true"), row("vae", 0.95), row("ours", 0.75), row("no-id", 0.25)),
    shape=SHAPE,
    notes=("something to know",),
    versions={"torch": "2"},
    machine={"cpu_count": 2},
)
