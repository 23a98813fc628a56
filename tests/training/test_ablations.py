"""Each row of the paper's Table 3, as the package ships it: five steps, an export, a clip."""

import io
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from fantasyid_engine.engine import Engine
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar import build_avatar_shards
from fantasyid_engine.training.data.shards import ShardedSamples
from fantasyid_engine.training.export_run import export_run
from fantasyid_engine.training.recipe import ROWS, DiffusionStage, Recipe, ShardData
from fantasyid_engine.training.recipe_file import read_recipe
from fantasyid_engine.training.run import train

STEPS = 5


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of the size that the miniature takes."""
    folder = tmp_path_factory.mktemp("clips") / "shards"
    build_avatar_shards(
        folder,
        World(seed=0, split="train", people=4, num_frames=9),
        4,
        size=64,
        view_size=64,
        crop_size=64,
        edited_share=0.25,
    )
    return folder


@cache
def recipe(row: str | None, shards: str) -> Recipe:
    """The last stage of a shipped recipe that trains the DiT, cut to five steps on four clips."""
    found = read_recipe("avatar-mini" if row is None else f"avatar-mini-without-{row.replace('_', '-')}")
    of_dit = [stage for stage in found.stages if isinstance(stage, DiffusionStage)]
    last = replace(of_dit[-1], steps=STEPS, batch_size=4, picture_batch=0, videos=0)
    return replace(found, train=ShardData(folder=shards), validation=None, stages=(last,))


@pytest.mark.parametrize("row", [None, *ROWS])
def test_trains_and_exports(row: str | None, shards: Path, tmp_path: Path) -> None:
    wanted = recipe(row, str(shards))
    said: list[str] = []
    train(wanted, tmp_path / "run", said.append, cpu=True)
    assert any(line.startswith(f"{wanted.stages[0].name}: step {STEPS} of {STEPS}  loss ") for line in said)
    assert export_run(tmp_path / "run", tmp_path / "model") == f"stage {wanted.stages[0].name}, done"
    with Engine.from_pretrained(tmp_path / "model") as engine:
        assert engine.model.network.config == wanted.model.network
        photo, view = io.BytesIO(), ShardedSamples(shards)[0].views[0]
        Image.fromarray(view.permute(1, 2, 0).numpy()).resize((128, 128)).save(photo, "PNG")
        request = VideoRequest(image=photo.getvalue(), prompt="the person smiles", seed=1, num_inference_steps=2)
        result = engine.generate(request)
    assert result.frames.shape == (9, 64, 64, 3)


@pytest.mark.parametrize("row", ["face_abstractor", "face_vertices", "layer_aware_injection"])
def test_what_a_row_is_without_is_not_in_its_weights(row: str, shards: Path, tmp_path: Path) -> None:
    from fantasyid_engine.training.parts import named_parts, start_model

    model = start_model(recipe(row, str(shards)))
    names = {f"{part}.{name}" for part, module in named_parts(model).items() for name in module.state_dict()}
    gone = {
        "face_abstractor": "conditioner.abstractor.before",
        "face_vertices": "conditioner.vertex_net.encoder",
        "layer_aware_injection": "dit.injections.layers.0.layer_aware",
    }
    for other, name in gone.items():
        assert any(found.startswith(name) for found in names) is (other != row)


def test_without_multi_view_one_picture_is_drawn(shards: Path) -> None:
    import torch

    from fantasyid_engine.training.parts import start_model
    from fantasyid_engine.training.tasks.make import make_task

    samples = [replace(s, frames=None, moments=torch.zeros(3, 16, 16, 16)) for s in ShardedSamples(shards)]
    for row, most in ((None, 6), ("multi_view", 1)):
        wanted = recipe(row, str(shards))
        task = make_task(
            wanted.stages[0], start_model(wanted), samples, views=wanted.views_used, cached_text=False, seed=0
        )
        drawn = set()
        for seed in range(40):
            (view,) = task.batch(samples[:1], [torch.Generator().manual_seed(seed)], 0)["view"]
            drawn.add(next(i for i, other in enumerate(samples[0].views) if torch.equal(view, other)))
        assert len(drawn) == most and 0 in drawn
