"""The plain DiT against diffusers' class, its sizes, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox import get_resize_crop_region_for_grid
from torch import nn

from fantasyid_engine.config.schema import DiTConfig, NetworkConfig
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.weights.load import build_on_meta
from fantasyid_engine.weights.released_keys import dead_row, our_name
from tests.goldens import assert_close, golden_json
from tests.small import DIT, hierarchy, randomise

FORMS = {
    "5B text-to-video": {"use_rotary_positional_embeddings": True},
    "5B image-to-video": {
        "use_rotary_positional_embeddings": True,
        "use_learned_positional_embeddings": True,
        "in_channels": 8,
    },
    "2B": {"use_rotary_positional_embeddings": False},
}
SIZE = {
    "num_attention_heads": 3,
    "attention_head_dim": 32,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 48,
    "text_embed_dim": 24,
    "num_layers": 2,
    "sample_width": 12,
    "sample_height": 8,
    "sample_frames": 9,
    "max_text_seq_length": 5,
}


def pair(form: str) -> tuple[DiT, CogVideoXTransformer3DModel]:
    """Our DiT without injection and diffusers' class, with the same random weights."""
    options = SIZE | FORMS[form]
    theirs = CogVideoXTransformer3DModel(**options).eval()
    randomise(theirs)
    learned = options.get("use_learned_positional_embeddings", False)
    if learned:
        theirs.patch_embed.pos_embedding.normal_(generator=torch.Generator().manual_seed(1))
    defaults = {"use_learned_positional_embeddings": False, "rotary_base_grid": (4, 6), "injection": None}
    config = DiTConfig(**defaults | options)
    ours = DiT(config).eval()
    state = {str(our_name(key)).removeprefix("dit."): value for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize(
    ("form", "frames", "height", "width"),
    [
        *(("5B text-to-video", *size) for size in [(3, 8, 12), (2, 8, 12), (3, 12, 8), (1, 4, 4)]),
        *(("2B", *size) for size in [(3, 8, 12), (2, 8, 12), (3, 12, 8), (1, 4, 4)]),
        ("5B image-to-video", 3, 8, 12),
    ],
)
@torch.inference_mode()
def test_matches_diffusers(form: str, frames: int, height: int, width: int) -> None:
    ours, theirs = pair(form)
    config, batch = ours.config, 2
    generator = torch.Generator().manual_seed(2)
    latents = torch.randn(batch, frames, config.in_channels, height, width, generator=generator)
    text = torch.randn(batch, 5, 24, generator=generator)
    timestep = torch.tensor([801, 3])

    rotary = None
    if config.use_rotary_positional_embeddings:
        grid = height // 2, width // 2
        crops = get_resize_crop_region_for_grid(grid, 6, 4)
        rotary = get_3d_rotary_pos_embed(config.attention_head_dim, crops, grid, frames)
    expected = theirs(latents, text, timestep, image_rotary_emb=rotary, return_dict=False)[0]

    image = latents[:, :, 4:] if config.image_channels else None
    embedded = ours.embed(text, frames, height, width, image)
    assert_close(form, ours(latents[:, :, :4], timestep, embedded), expected, 2e-6)


@torch.inference_mode()
def test_request_of_batch_one_broadcasts() -> None:
    """Text, image latents and identity of batch 1 serve any batch of latents."""
    dit = DiT(replace(DIT, injection=DIT.injection)).eval()
    randomise(dit)
    generator = torch.Generator().manual_seed(0)
    text, image = torch.randn(1, 6, 24, generator=generator), torch.randn(1, 3, 4, 12, 8, generator=generator)
    id_kv = torch.randn(3, 2, 1, 16, 5, 128, generator=generator)
    latents, timestep = torch.randn(3, 3, 4, 12, 8, generator=generator), torch.tensor([5, 500, 999])
    once = dit(latents, timestep, dit.embed(text, 3, 12, 8, image), id_kv)
    repeated = dit.embed(text.expand(3, -1, -1), 3, 12, 8, image.expand(3, -1, -1, -1, -1))
    full = dit(latents, timestep, repeated, id_kv.expand(-1, -1, 3, -1, -1, -1))
    torch.testing.assert_close(once, full)
    for i in range(3):
        alone = dit(latents[i : i + 1], timestep[i : i + 1], dit.embed(text, 3, 12, 8, image), id_kv)
        torch.testing.assert_close(once[i : i + 1], alone, rtol=1e-4, atol=1e-5)


def test_learned_positions_are_for_one_size() -> None:
    dit, _ = pair("5B image-to-video")
    with pytest.raises(ValueError, match=r"latents of 2x8x12 .* learned positions for 3x8x12 only"):
        dit.embed(torch.zeros(1, 5, 24), 2, 8, 12, torch.zeros(1, 2, 4, 8, 12))


@pytest.mark.parametrize(
    ("text", "size", "image", "message"),
    [
        ((1, 7, 24), (3, 12, 8), (1, 3, 4, 12, 8), "7 text tokens; this model takes at most 6"),
        ((1, 6, 24), (3, 11, 8), (1, 3, 4, 11, 8), "height and width must be multiples of 2"),
        ((1, 6, 24), (3, 0, 8), (1, 3, 4, 0, 8), "and none 0"),
        ((1, 6, 24), (0, 12, 8), (1, 0, 4, 12, 8), "and none 0"),
        ((1, 6, 24), (3, 12, 8), None, "needs image latents of 4 channels"),
        ((1, 6, 24), (3, 12, 8), (1, 3, 3, 12, 8), r"expected \(3, 4, 12, 8\)"),
        ((1, 6, 24), (3, 12, 8), (1, 2, 4, 12, 8), r"expected \(3, 4, 12, 8\)"),
    ],
)
def test_embed_refuses(text: tuple, size: tuple, image: tuple | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiT(DIT).embed(torch.zeros(text), *size, None if image is None else torch.zeros(image))


@pytest.mark.parametrize(
    ("latents", "id_kv", "message"),
    [
        ((1, 3, 4, 12, 8), (2, 2, 1, 16, 5, 128), "takes \\[3, 2, 1 or 1, 16, K, 128\\]"),
        ((1, 3, 4, 12, 8), (3, 2, 1, 32, 5, 64), "takes \\[3, 2, 1 or 1, 16, K, 128\\]"),
        ((1, 3, 4, 12, 8), (3, 2, 2, 16, 5, 128), "takes \\[3, 2, 1 or 1, 16, K, 128\\]"),
        ((1, 3, 4, 8, 12), None, "embedded for \\(3, 4, 12, 8\\)"),
        ((1, 1, 4, 36, 8), None, "embedded for \\(3, 4, 12, 8\\)"),
        ((1, 3, 8, 12, 8), None, "embedded for \\(3, 4, 12, 8\\)"),
        ((3, 3, 4, 12, 8), None, "3 latents; embedded for 2"),
    ],
)
def test_forward_refuses_what_was_not_embedded(
    latents: tuple[int, ...], id_kv: tuple[int, ...] | None, message: str
) -> None:
    """Latents that were not embedded, and keys and values of another model, would be scrambled silently."""
    dit = DiT(DIT)
    batch = 2 if latents[0] == 3 else 1
    embedded = dit.embed(torch.zeros(batch, 6, 24), 3, 12, 8, torch.zeros(batch, 3, 4, 12, 8))
    face = None if id_kv is None else torch.zeros(id_kv)
    with pytest.raises(ValueError, match=message):
        dit(torch.zeros(latents), torch.ones(latents[0]), embedded, face)


@pytest.mark.parametrize("shape", [(), (3,), (2, 1)])
def test_forward_refuses_timesteps(shape: tuple[int, ...]) -> None:
    dit = DiT(DIT)
    embedded = dit.embed(torch.zeros(1, 6, 24), 3, 12, 8, torch.zeros(1, 3, 4, 12, 8))
    with pytest.raises(ValueError, match=r"timesteps of shape .*; expected \[1 or 2\]"):
        dit(torch.zeros(2, 3, 4, 12, 8), torch.ones(shape), embedded)


@pytest.mark.parametrize(("layers", "interval", "after"), [(4, 1, [0, 1, 2, 3]), (4, 2, [0, 2]), (5, 2, [0, 2, 4])])
def test_interval_decides_where_injections_are(layers: int, interval: int, after: list[int]) -> None:
    assert DIT.injection is not None
    dit = DiT(replace(DIT, num_layers=layers, injection=replace(DIT.injection, interval=interval)))
    turns: list[int] = []
    for number, layer in enumerate(dit.injections.layers):
        layer.register_forward_hook(lambda module, args, output, number=number: turns.append(number * interval))
    embedded = dit.embed(torch.zeros(1, 6, 24), 3, 12, 8, torch.zeros(1, 3, 4, 12, 8))
    id_kv = torch.zeros(len(after), 2, 1, 16, 5, 128)
    dit(torch.zeros(1, 3, 4, 12, 8), torch.tensor([1]), embedded, id_kv)
    assert turns == after


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.reference_data
def test_released_size_has_the_authors_keys() -> None:
    """Both ways: every live key of theirs has its place here with its shape, every weight here is one of theirs."""
    theirs: dict[str, list[int]] = golden_json("state_dict_keys_42")
    config = NetworkConfig()
    network = build_on_meta(config, hierarchy(config.mesh), Path("x"))
    ours = {name: list(tensor.shape) for name, tensor in network.state_dict().items() if not name.startswith("tower.")}
    live = {key: shape for key, shape in theirs.items() if dead_row(key, config.tower.num_layers) is None}
    assert {our_name(key): shape for key, shape in live.items()} == ours
    assert len(live) == len(ours)
    dead = {key for key in theirs if key not in live}
    assert all(key.startswith("face_abstractor.") for key in dead)
    assert len(theirs) == 2412

    tower_keys = {f"visual.{key}": shape for key, shape in golden_json("eva_visual_keys").items()}
    tower = {name: list(t.shape) for name, t in network.tower.state_dict().items()}
    live_tower = {k: s for k, s in tower_keys.items() if dead_row(k, config.tower.num_layers) is None}
    assert {str(our_name(key)).removeprefix("tower."): shape for key, shape in live_tower.items()} == tower


@pytest.mark.reference_data
def test_released_size_has_the_authors_parameters() -> None:
    theirs: dict[str, list[int]] = golden_json("state_dict_keys_42")
    config = NetworkConfig()
    network = build_on_meta(config, hierarchy(config.mesh), Path("x"))
    assert parameters(network.dit.blocks) == 5_552_300_544
    assert parameters(network.conditioner.abstractor) == pytest.approx(17.70e6, abs=0.005e6)
    assert parameters(network.conditioner.vertex_net) == 9_653_632
    assert parameters(network.conditioner.resconv) == 34_105_600
    injections = parameters(network.conditioner.key_values) + parameters(network.dit.injections)
    assert injections == 881_233_920
    assert sum(torch.Size(shape).numel() for shape in theirs.values()) == 6_694_293_312
