"""Runs that begin with another one's stages."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.parts import write_result
from fantasyid_engine.training.recipe import Recipe
from fantasyid_engine.training.release import keep_stages
from fantasyid_engine.training.run import claim, read_recipe_of, result_path
from fantasyid_engine.training.share import share_stages
from tests.training.cases import tiny


def row(without: str) -> Recipe:
    recipe = tiny()
    network = ablated(recipe.model.network, [without])
    return replace(recipe, name=without, without=(without,), model=replace(recipe.model, network=network))


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A run of the tiny recipe whose stages are all done, with weights that tell which is which."""
    folder, recipe = tmp_path / "full", tiny()
    claim(folder, recipe)
    for number in range(len(recipe.stages)):
        write_result(
            result_path(folder, recipe, number), {"vae.x": torch.full((2,), float(number))}, {"number": number}
        )
    (folder / "data" / "train").mkdir(parents=True)
    (folder / "data" / "train" / "index.json").write_text("{}")
    return folder


@pytest.mark.parametrize("without", ["face_abstractor", "face_vertices", "layer_aware_injection", "multi_view"])
def test_rows_share_what_sees_no_faces(finished: Path, tmp_path: Path, without: str) -> None:
    recipe, folder = row(without), tmp_path / "row"
    assert share_stages(recipe, folder, finished) == ["vae", "tower", "text"]
    for number in range(3):
        name = result_path(folder, recipe, number)
        assert load_file(name)["vae.x"].tolist() == [number, number]
    assert not result_path(folder, recipe, 3).exists()
    assert (folder / "data" / "train" / "index.json").samefile(finished / "data" / "train" / "index.json")
    claim(folder, recipe)  # it is a run of this recipe now


def test_stages_are_shared_up_to_the_first_that_differs(finished: Path, tmp_path: Path) -> None:
    vae, tower, *others = tiny().stages
    recipe = replace(tiny(), stages=(vae, replace(tower, steps=7), *others))
    assert share_stages(recipe, tmp_path / "row", finished) == ["vae"]


def test_rows_make_id_tokens_of_their_own_in_the_tower_stage_too(finished: Path, tmp_path: Path) -> None:
    def taught(recipe: Recipe) -> Recipe:
        vae, tower, *others = recipe.stages
        return replace(recipe, stages=(vae, replace(tower, trainable=("tower.*", "conditioner.*")), *others))

    source = tmp_path / "taught"
    claim(source, taught(tiny()))
    shutil.copytree(finished / "stages", source / "stages")
    assert share_stages(taught(row("face_abstractor")), tmp_path / "row", source) == ["vae"]
    assert share_stages(taught(tiny()), tmp_path / "again", source) == [stage.name for stage in tiny().stages]


def test_a_release_can_be_gone_on_from(finished: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for _ in range(2):  # the second takes the first one's place
        keep_stages(finished, tiny(), kept)
    shutil.copyfile(finished / "recipe.json", kept / "recipe.json")
    result_path(finished, tiny(), 0).unlink()
    assert share_stages(tiny(), tmp_path / "again", kept) == [stage.name for stage in tiny().stages[:-1]]


def test_another_guidance_is_no_other_model(finished: Path, tmp_path: Path) -> None:
    model = tiny().model
    recipe = replace(tiny(), model=replace(model, render=replace(model.render, guidance_scale=1.25)))
    claim(finished, recipe)
    assert read_recipe_of(finished).model.render.guidance_scale == 1.25
    assert share_stages(tiny(), tmp_path / "again", finished) == [stage.name for stage in tiny().stages]


def test_a_run_goes_on_in_another_precision_on_another_machine(finished: Path) -> None:
    other = replace(tiny(), precision="bfloat16" if tiny().precision == "float32" else "float32")
    claim(finished, other)
    assert read_recipe_of(finished) == other
    with pytest.raises(ConfigError, match="its seed differ"):
        claim(finished, replace(other, seed=1))


def test_a_stage_that_is_not_finished_ends_it(finished: Path, tmp_path: Path) -> None:
    result_path(finished, tiny(), 1).unlink()
    assert share_stages(tiny(), tmp_path / "row", finished) == ["vae"]
    result_path(finished, tiny(), 0).unlink()
    shutil.rmtree(finished / "data")
    with pytest.raises(ConfigError, match="neither clips nor a finished stage"):
        share_stages(tiny(), tmp_path / "other", finished)
    assert not (tmp_path / "other").exists()


def test_runs_that_start_from_other_weights_share_clips_alone(finished: Path, tmp_path: Path) -> None:
    """Whatever their models are, as long as these take the same clips."""
    model = tiny().model
    wider = replace(model, text=replace(model.text, mlp_dim=256))
    recipe, folder = replace(tiny(), start="a-model", model=wider), tmp_path / "row"
    assert share_stages(recipe, folder, finished) == []
    assert not result_path(folder, recipe, 0).exists()
    assert (folder / "data" / "train" / "index.json").samefile(finished / "data" / "train" / "index.json")
    larger = replace(recipe, model=replace(model, render=replace(model.render, crop_size=48)))
    with pytest.raises(ConfigError, match="other clips"):
        share_stages(larger, tmp_path / "other", finished)


def test_other_clips_or_models_are_refused(finished: Path, tmp_path: Path) -> None:
    recipe = tiny()
    clips = replace(recipe, train=replace(recipe.train, seed=1))
    with pytest.raises(ConfigError, match="other clips"):
        share_stages(clips, tmp_path / "row", finished)
    wider = replace(recipe, model=replace(recipe.model, text=replace(recipe.model.text, mlp_dim=256)))
    with pytest.raises(ConfigError, match="other model or seed"):
        share_stages(wider, tmp_path / "row", finished)
