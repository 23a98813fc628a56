"""A trained model as a row of Table 3: what stays, what is new, and what does not fit."""

import re
from dataclasses import replace

import pytest
import torch

from fantasyid_engine.config.schema import QFormerConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.parts import start_model
from fantasyid_engine.training.recipe import ROWS, Recipe
from fantasyid_engine.training.recipe_file import read_recipe
from fantasyid_engine.weights.model import Model, load_model
from fantasyid_engine.weights.shipped import MODELS

NEW = {
    "face_abstractor": "conditioner.abstractor.",
    "multi_view": "nothing",
    "face_vertices": "nothing",
    "layer_aware_injection": "dit.injections.shared_out.",
}
GONE = {
    "face_abstractor": "conditioner.abstractor.",
    "multi_view": "nothing",
    "face_vertices": "conditioner.vertex_net.",
    "layer_aware_injection": "dit.injections.layers.",
}


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model(MODELS / "avatar-mini", dtype=torch.float32)


def recipe(row: str) -> Recipe:
    return read_recipe(f"avatar-mini-without-{row.replace('_', '-')}")


def test_the_full_row_begins_with_the_model_itself(shipped: Model) -> None:
    old, new = shipped.network.state_dict(), start_model(read_recipe("avatar-mini-table3")).network.state_dict()
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("row", ROWS)
def test_a_row_keeps_what_it_does_not_change(row: str, shipped: Model) -> None:
    """Every weight is the package's or one of those that the row brings, drawn from the seed."""
    model, other = start_model(recipe(row)), start_model(replace(recipe(row), seed=1))
    old, new = shipped.network.state_dict(), model.network.state_dict()
    assert all(name.startswith(GONE[row]) for name in old.keys() - new.keys())
    assert bool(old.keys() - new.keys()) is (row != "multi_view")
    brought = {name for name in new if name not in old or not torch.equal(old[name], new[name])}
    assert all(name.startswith(NEW[row]) for name in brought)
    assert bool(brought) is (row not in ("multi_view", "face_vertices"))
    drawn = {name for name in brought if not torch.equal(new[name], other.network.state_dict()[name])}
    assert bool(drawn) is (row == "face_abstractor"), "the shared projection begins at zero"
    assert (model.vae.state_dict().keys(), model.render) == (shipped.vae.state_dict().keys(), shipped.render)


@torch.inference_mode()
def test_a_shared_projection_says_nothing_yet(shipped: Model) -> None:
    """It predicts what the package's model does without a face, bit for bit, whatever face it is shown."""
    model, generator = start_model(recipe("layer_aware_injection")), torch.Generator().manual_seed(4)
    latents, text = torch.randn(2, 2, 16, 16, 16, generator=generator), torch.randn(2, 6, 128, generator=generator)
    timesteps, found = torch.tensor([801, 3]), []
    picture = torch.randn(2, 3, 64, 64, generator=generator)
    id_kv = model.network.id_kv(picture, model.hierarchy.template[None].expand(2, -1, -1))
    assert id_kv.abs().max() > 0
    for dit, face in ((model.network.dit, id_kv), (shipped.network.dit, None)):
        found.append(dit(latents, timesteps, dit.embed(text, 2, 16, 16), face))
    assert torch.equal(*found) and found[0].std() > 0.1


def test_rows_together() -> None:
    full, rows = read_recipe("avatar-mini-table3"), ("face_abstractor", "face_vertices")
    changed = replace(full.model, network=ablated(full.model.network, rows))
    both = start_model(replace(full, without=rows, model=changed)).network.config
    assert isinstance(both.conditioner.abstractor, QFormerConfig) and not both.takes_vertices


def test_another_network_is_refused() -> None:
    full = read_recipe("avatar-mini-table3")
    network = full.model.network
    deeper = replace(network, dit=replace(network.dit, num_layers=network.dit.num_layers + 1))
    message = "avatar-mini holds another network than this recipe; make it with fantasyid-engine train init"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        start_model(replace(full, model=replace(full.model, network=deeper)))
