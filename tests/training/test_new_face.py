"""A trained model whose face modules start anew: what stays, what is new, and what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fantasyid_engine.config.schema import QFormerConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.new_face import with_new_face
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.training.recipe import ROWS
from fantasyid_engine.training.recipe_file import read_recipe
from fantasyid_engine.weights.model import Model, load_model
from fantasyid_engine.weights.shipped import MODELS
from tests.training.cases import tiny_model

NEW = ("conditioner.", "dit.injections.")
KEPT = ("conditioner.vertex_net.template", "conditioner.vertex_net.sigma")
HERE = Path("a-model")


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model(MODELS / "avatar-mini", dtype=torch.float32)


def test_all_but_the_face_is_the_models_own(shipped: Model) -> None:
    """Every weight is the package's or one of those that start anew, drawn from the seed."""
    recipe = read_recipe("avatar-mini-table3")
    model, other = start_model(recipe), start_model(replace(recipe, seed=1))
    old, new = shipped.network.state_dict(), model.network.state_dict()
    assert old.keys() == new.keys() and model.network.config == shipped.network.config
    same = [name for name in new if not name.startswith(NEW) or name.startswith(KEPT)]
    assert len(same) > 100 and all(torch.equal(old[name], new[name]) for name in same)
    drawn = [name for name in new if name.startswith(NEW) and new[name].ndim > 1 and name not in same]
    drawn = [name for name in drawn if new[name].std() > 0]
    assert len(drawn) > 50
    for name in drawn:
        assert not torch.equal(new[name], old[name])
        assert not torch.equal(new[name], other.network.state_dict()[name]), name
    assert (model.vae.state_dict().keys(), model.render) == (shipped.vae.state_dict().keys(), shipped.render)


@torch.inference_mode()
@pytest.mark.parametrize("row", [None, *ROWS])
def test_a_new_face_says_nothing_yet(shipped: Model, row: str | None) -> None:
    """Each row predicts what the package's model does without a face, bit for bit, whatever face it is shown."""
    name = "avatar-mini-table3" if row is None else f"avatar-mini-without-{row.replace('_', '-')}"
    model, generator = start_model(read_recipe(name)), torch.Generator().manual_seed(4)
    latents, text = torch.randn(2, 2, 16, 16, 16, generator=generator), torch.randn(2, 6, 128, generator=generator)
    timesteps, found = torch.tensor([801, 3]), []
    picture = torch.randn(2, 3, 64, 64, generator=generator)
    id_kv = model.network.id_kv(picture, model.hierarchy.template[None].expand(2, -1, -1))
    assert id_kv.abs().max() > 0
    for dit, face in ((model.network.dit, id_kv), (shipped.network.dit, None)):
        found.append(dit(latents, timesteps, dit.embed(text, 2, 16, 16), face))
    assert torch.equal(*found) and found[0].std() > 0.1


def test_rows_of_table_3(shipped: Model) -> None:
    config = ablated(shipped.network.config, ["face_abstractor", "face_vertices"])
    network = with_new_face(shipped, config, HERE, 0).network
    assert network.config == config and network.tower is shipped.network.tower
    assert isinstance(network.config.conditioner.abstractor, QFormerConfig) and not network.config.takes_vertices


def test_what_does_not_fit() -> None:
    model = tiny_model()
    config = model.network.config
    deeper = replace(config, dit=replace(config.dit, num_layers=config.dit.num_layers + 1))
    with pytest.raises(
        ConfigError, match=r"^a-model differs from this recipe's network in more than its face modules$"
    ):
        with_new_face(model, deeper, HERE, 0)
    blind = with_new_face(model, ablated(config, ["face_vertices"]), HERE, 0)
    with pytest.raises(
        ConfigError, match=r"^a-model knows of no vertices, and this recipe takes them; begin with a mo"
    ):
        with_new_face(blind, config, HERE, 0)
