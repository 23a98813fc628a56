"""The named networks are the published ones."""

from dataclasses import replace

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from fantasyid_engine.config.presets import COGVIDEOX, MINIATURES, NETWORKS
from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.weights.released_keys import our_name

# What differs from diffusers' defaults in the published config.json files.
PUBLISHED = {
    "2b": {},
    "5b": {"num_layers": 42, "num_attention_heads": 48, "use_rotary_positional_embeddings": True},
    "5b-i2v": {
        "num_layers": 42,
        "num_attention_heads": 48,
        "in_channels": 32,
        "use_rotary_positional_embeddings": True,
        "use_learned_positional_embeddings": True,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_has_the_tensors_of_diffusers(name: str) -> None:
    """On the meta device, at full size: the same tensors with the same shapes."""
    with torch.device("meta"):
        theirs = CogVideoXTransformer3DModel(**PUBLISHED[name])
        ours = DiT(COGVIDEOX[name])
    expected = {our_name(key): value.shape for key, value in theirs.state_dict().items()}
    assert {f"dit.{key}": value.shape for key, value in ours.state_dict().items()} == expected


def test_networks() -> None:
    assert NETWORKS["fantasyid-5b"] == NetworkConfig()
    assert NETWORKS["fantasyid-5b"].num_id_tokens == 115
    paper = NETWORKS["fantasyid-5b-paper"]
    assert (paper.form, paper.num_id_tokens, paper.dit.image_channels) == ("paper", 314, 0)
    assert paper.conditioner.id_dim == paper.dit.dim


@pytest.mark.parametrize("layers", [(6,), (-1,), (2, 2), (0, 1, 2, 3, 4, 5), (1.0,), [2]], ids=str)
def test_layers_to_skip_are_some_of_the_models(layers: tuple[int, ...]) -> None:
    model = MINIATURES["avatar-mini"]
    assert model.network.dit.num_layers == 6
    with pytest.raises(ValueError, match=r"skip_guidance_layers is .*; it must be a tuple of layers from 0 to "):
        replace(model, render=replace(model.render, skip_guidance_layers=layers))
    assert replace(model, render=replace(model.render, skip_guidance_layers=(0, 5)))
