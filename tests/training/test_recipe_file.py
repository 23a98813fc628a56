"""Recipes: those of the package, and a user's own with a user's mistakes."""

import re
from pathlib import Path

import pytest

from fantasyid_engine.config.schema import PaperConditionerConfig, QFormerConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.recipe import ROWS, AvatarData, DiffusionStage, OptimiserConfig, VaeStage
from fantasyid_engine.training.recipe_file import describe_recipes, merged, read_recipe, recipe_names
from fantasyid_engine.training.smoke import smoke

OWN = """
base = "avatar-mini"
name = "mine"
[train]
clips = 7
[model.change.network.dit]
num_layers = 4
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "own.toml"
    path.write_text(text)
    return str(path)


def test_defaults_are_the_papers() -> None:
    stage, optimiser = DiffusionStage(name="identity", steps=90_000), OptimiserConfig()
    assert (stage.batch_size, stage.null_text, optimiser.lr) == (16, 0.1, 3e-6)
    assert optimiser.schedule == "cosine_with_restarts"
    assert stage.trainable == ("conditioner.*", "dit.injections.*")


def test_the_miniature_is_in_the_package() -> None:
    recipe = read_recipe("avatar-mini")
    kinds = ["vae", "vae", "text", "diffusion", "tower", "tower", "diffusion", "tower"]
    assert [stage.kind for stage in recipe.stages] == kinds + 9 * ["diffusion"] + 3 * ["vae"]
    assert recipe.model.network.shape is not None and len(recipe.model.network.shape.names) == 16
    vae = recipe.stages[0]
    assert isinstance(vae, VaeStage) and 0 < vae.image_steps < vae.image_steps + vae.crop_steps < vae.steps
    assert recipe.stages[3].trainable == ("dit.*", "!dit.injections.*")


def test_each_row_of_table_3_is_a_recipe_of_both_sizes() -> None:
    for base in ("avatar-mini", "paper-5b"):
        assert {f"{base}-without-{row.replace('_', '-')}" for row in ROWS} <= set(recipe_names())
    assert len(describe_recipes()) == len(recipe_names())


@pytest.mark.parametrize("row", ROWS)
def test_rows_change_one_thing(row: str) -> None:
    full, recipe = read_recipe("avatar-mini-table3"), read_recipe(f"avatar-mini-without-{row.replace('_', '-')}")
    assert recipe.without == (row,) and recipe.stages == full.stages and recipe.train == full.train
    conditioner, injection = recipe.model.network.conditioner, recipe.model.network.dit.injection
    assert isinstance(conditioner, PaperConditionerConfig) and injection is not None
    assert isinstance(conditioner.abstractor, QFormerConfig) is (row == "face_abstractor")
    assert conditioner.face_vertices is not (row == "face_vertices")
    assert (injection.form == "shared") is (row == "layer_aware_injection")
    assert recipe.views_used == (1 if row == "multi_view" else 6)
    assert conditioner.abstractor.num_tokens == 16


def test_a_recipe_of_ones_own_changes_a_base(tmp_path: Path) -> None:
    recipe = read_recipe(written(tmp_path, OWN))
    assert recipe.name == "mine" and recipe.model.network.dit.num_layers == 4
    assert recipe.train == AvatarData(people=20_000, clips=7, edited_share=0.25)
    assert recipe.stages == read_recipe("avatar-mini").stages


def test_table_3_goes_on_with_the_packages_model() -> None:
    """On the clips that it was made with."""
    full, table3 = read_recipe("avatar-mini"), read_recipe("avatar-mini-table3")
    assert table3.start == "avatar-mini"
    assert (table3.train, table3.validation, table3.views) == (full.train, full.validation, full.views)
    assert table3.model.network == full.model.network


def test_begins_with_stages_of_the_base(tmp_path: Path) -> None:
    last = read_recipe(written(tmp_path, 'base = "avatar-mini"\nname = "mine"\nbegins_with = ["base"]\n'))
    assert last.stages == (read_recipe("avatar-mini").stages[3],)


@pytest.mark.parametrize("names", ['["vae", "nothing"]', '"vae"', "[[]]"])
def test_begins_with_what_the_base_has(tmp_path: Path, names: str) -> None:
    path = written(tmp_path, f'base = "avatar-mini"\nbegins_with = {names}\n')
    with pytest.raises(
        ConfigError, match=r"begins_with must be a list of avatar-mini's stages: vae, vae-again, text, b"
    ):
        read_recipe(path)


def test_tables_merge_and_all_else_replaces() -> None:
    base = {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged(base, {"a": {"c": [4]}, "e": 5}) == {"a": {"b": 1, "c": [4]}, "d": 3, "e": 5}
    assert base == {"a": {"b": 1, "c": [1, 2]}, "d": 3}
    assert merged({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "y", "c": 2}}) == {"a": {"kind": "y", "c": 2}}
    assert merged({"a": {"kind": "x", "b": 1}}, {"a": {"kind": "x", "c": 2}}) == {"a": {"kind": "x", "b": 1, "c": 2}}


def test_smoke_passes_through_everything_with_little() -> None:
    full = read_recipe("avatar-mini")
    cut = smoke(full)
    assert [stage.name for stage in cut.stages] == [stage.name for stage in full.stages]
    assert all(stage.steps <= 5 and stage.checkpoint_every < stage.steps for stage in cut.stages)
    assert cut.model == full.model and cut.smoke and not full.smoke
    assert all(stage.batch_at(step) % 3 == 0 for stage in smoke(full, processes=3).stages for step in (0, 4))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "own.toml is no TOML: "),
        ('base = "avatar-mini"\nstepz = 3', "own.toml: stepz: Unexpected keyword argument, not 3"),
        ('base = "avatar-mini"\nwithout = ["faces"]', "without.0: Input should be 'face_abstractor', 'multi_view'"),
        ('base = "avatar-mini"\nseed = -1', "Recipe.seed is -1; it must be from 0 to 2^32 - 1"),
        ('base = "avatar-mini"\nstages = []', "stages"),
        ('base = "avatar-mini"\n[model.change.network.dit]\nnum_layers = 0', "num_layers"),
        ('base = "avatar-mini"\n[model]\nfolder = "x"', "needs a preset or a folder, and not both"),
        ('name = "x"', "it needs a table [model] with preset or folder"),
        ('base = "avatar-mini"\n[model]\nface = "new"', "with preset or folder, and change alone besides"),
        ('[model]\npreset = "huge"', "there is no preset 'huge' to train from; there is avatar-mini"),
        ('[model]\nfolder = "nowhere"', "no model folder at nowhere; make it with fantasyid-engine train init"),
        ('base = "own.toml"', "bases must end somewhere"),
        (
            'base = "nothing"',
            "nothing cannot be read: No such file or directory; name a .toml file, or one of avatar-m",
        ),
        (
            'base = "avatar-mini"\nfrozen = "bfloat16"\nprecision = "float32"',
            "Recipe.frozen is 'bfloat16'; it must be float32 where precision is",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        read_recipe(written(tmp_path, text))
    assert "\n" not in str(error.value)
