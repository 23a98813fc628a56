"""The released form against the outputs of the authors' code, float32 and bfloat16."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.models.embedding import Embedded, rotary_factors, rotary_tables
from fantasyid_engine.models.eva_clip import patch_rotary
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.folder import load_network
from tests.goldens import assert_close, golden, golden_json, normal, relative_l2, weight

pytestmark = pytest.mark.reference_data

# Relative L2 that reordering float32 justifies, from the goldens' README.
TOLERANCE = {
    "face_abstractor": 8e-6,
    "vertex_spiral_net": 5e-6,
    "vertex_spiral_net.depth_emb": 1e-6,
    "vertex_spiral_net.coarse_vertices": 0.0,
    "vertex_reducer": 4e-6,
    "layer_attention": 5e-6,
    "full_cfg": 2e-5,
    "full_cfg.id_tokens": 6e-6,
}


def tolerance(name: str) -> float:
    return TOLERANCE.get(name, TOLERANCE[name.split(".")[0]])


class Captures:
    """Outputs of submodules during a call."""

    def __init__(self, **modules: nn.Module) -> None:
        self.outputs: dict[str, Tensor | tuple[Tensor, ...]] = {}
        self.hooks = [module.register_forward_hook(self._hook(name)) for name, module in modules.items()]

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(module: nn.Module, args: object, output: Tensor) -> None:
            self.outputs[name] = output

        return keep

    def __enter__(self) -> "Captures":
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def __getitem__(self, name: str) -> Tensor:
        output = self.outputs[name]
        assert isinstance(output, Tensor)
        return output


def dtype_of(network: Network) -> torch.dtype:
    return network.dit.proj_out.weight.dtype


def face_abstractor(network: Network) -> dict[str, Tensor]:
    hidden = normal("input.vit_hidden.4", 2, 577, 1024).to(dtype_of(network))
    return {"face_abstractor.out": network.conditioner.abstractor(hidden[:, 1:])}


def vertex_net(network: Network) -> dict[str, Tensor]:
    net = network.conditioner.vertex_net
    vertices = golden("mesh")["vertices.anne"][None]
    face = normal("input.face_tokens", 1, 36, 2048).to(dtype_of(network)).float()
    with Captures(hw=net.face_mlp, fusion=net.fusion, conv1=net.decoder.conv1) as captured:
        out = net(face, vertices)
    from fantasyid_engine.models.depth import released_depth_code

    coarse = vertices[:, net.coarse]
    return {
        "vertex_spiral_net.out": out,
        "vertex_spiral_net.coarse_vertices": coarse,
        "vertex_spiral_net.depth_emb": released_depth_code(coarse[..., 2], 128),
        "vertex_spiral_net.hw_down": captured["hw"],
        "vertex_spiral_net.fused_tokens": captured["fusion"],
        "vertex_spiral_net.up0": F.elu(captured["conv1"]),
    }


def vertex_reducer(network: Network) -> dict[str, Tensor]:
    features = normal("input.vertex_features", 1, 128, 5023).to(dtype_of(network))
    with Captures(block3=network.conditioner.resconv.blocks[2]) as captured:
        out = network.conditioner.resconv(features.transpose(1, 2))
    return {"vertex_reducer.out": out.transpose(1, 2), "vertex_reducer.block3": captured["block3"]}


def layer_attention(network: Network) -> dict[str, Tensor]:
    dtype = dtype_of(network)
    tokens = normal("input.id_tokens", 1, 115, 2048).to(dtype)
    hidden = (normal("input.hidden", 2, 48, 3072) * 2 + 0.5).to(dtype)
    id_kv = network.conditioner.key_values[0](tokens)
    return {"layer_attention.0.out": network.dit.injections.layers[0](hidden, id_kv, (3, 4, 4))}


def full(network: Network) -> dict[str, Tensor]:
    """Guidance batch 2, ID batch 1."""
    dtype, dit, conditioner = dtype_of(network), network.dit, network.conditioner
    features = normal("input.vit_hidden.4", 2, 577, 1024)[:1].to(dtype)
    vertices = golden("mesh")["vertices.anne"][None]
    latents = normal("input.latents.3", 2, 3, 32, 8, 8).to(dtype)
    text = normal("input.text", 2, 16, 4096).to(dtype)

    id_tokens = conditioner.id_tokens(features, vertices)
    id_kv = conditioner(features, vertices)
    embedded = dit.embed(text, 3, 8, 8, latents[:, :, 16:])
    stages: dict[str, Tensor] = {}
    layers, blocks = dit.injections.layers, dit.blocks
    with Captures(
        patches=dit.patch_embed,
        temb=dit.time_embedding,
        **{f"inject{i}": layer for i, layer in enumerate(layers)},
        **{f"block{i}": block for i, block in enumerate(blocks)},
    ) as captured:
        stages["out"] = dit(latents[:, :, :16], torch.tensor([801, 801]), embedded, id_kv)
    stages["id_tokens"] = id_tokens
    stages["temb"] = captured["temb"]
    stages["patch_embed"] = torch.cat([embedded.text, captured["patches"]], dim=1)
    for i in range(len(blocks)):
        stages[f"inject{i}"] = captured[f"inject{i}"]
        stages[f"block{i}.hidden"], stages[f"block{i}.text"] = captured.outputs[f"block{i}"]
    return {f"full_cfg.{name}": value for name, value in stages.items()}


PARTS = {
    "face": face_abstractor,
    "vertex": vertex_net,
    "reducer": vertex_reducer,
    "injection": layer_attention,
    "full": full,
}


@torch.inference_mode()
def outputs(network: Network, part: str) -> dict[str, Tensor]:
    return PARTS[part](network)


@pytest.mark.parametrize("part", PARTS)
def test_float32_matches_the_authors(golden_network: Network, part: str) -> None:
    for name, value in outputs(golden_network, part).items():
        assert_close(name, value, golden("outputs_f32")[name], tolerance(name))


def test_every_golden_output_is_compared(golden_network: Network) -> None:
    compared = {name for part in PARTS for name in outputs(golden_network, part)}
    assert compared == {name for name in golden("outputs_f32") if not name.startswith("rope.")}


@pytest.fixture(scope="module")
def bfloat16_network(golden_folder: Path) -> Network:
    return load_network(golden_folder, dtype=torch.bfloat16)


@pytest.mark.parametrize("part", PARTS)
def test_bfloat16_is_within_twice_the_authors_error(bfloat16_network: Network, part: str) -> None:
    for name, value in outputs(bfloat16_network, part).items():
        error, theirs = relative_l2(value, golden("outputs_f32")[name]), golden_json("errors")[name]["bf16_vs_f64_rel_l2"]
        assert error <= max(2 * theirs, tolerance(name)), f"{name}: {error:.2e} against their {theirs:.2e}"


def test_rotary_tables() -> None:
    expected = golden("outputs_f32")
    cos, sin = rotary_tables((3, 4, 4), (30, 45), 64)
    assert_close("cos", cos, expected["rope.64x64x3.cos"], 1e-6)
    assert_close("sin", sin, expected["rope.64x64x3.sin"], 1e-6)
    assert_close("cos", rotary_tables((2, 6, 4), (30, 45), 64)[0], expected["rope.96x64x2.cos"], 1e-6)
    for axis, (cos, sin) in zip("thw", rotary_factors((13, 30, 45), (30, 45), 64), strict=True):
        assert_close(f"cos {axis}", cos, expected[f"rope.480x720x13.cos_{axis}"], 1e-6)
        assert_close(f"sin {axis}", sin, expected[f"rope.480x720x13.sin_{axis}"], 1e-6)


@torch.inference_mode()
def test_tower(golden_network: Network) -> None:
    tower, expected = golden_network.tower, golden("eva")
    image, rows = normal("input.eva_image", 1, 3, 336, 336), expected["eva.rows"]
    assert_close("rope", patch_rotary(tower.config)[0], expected["eva.rope_cos"], 1e-6)

    with Captures(hidden0=tower.blocks[3]) as captured:
        hidden4 = tower(image)
    assert_close("hidden 0", captured["hidden0"][:, rows], expected["eva.hidden0.rows"], 8e-6)
    assert_close("hidden 4", hidden4[:, rows], expected["eva.hidden4.rows"], 8e-6)
    assert_close("hidden 4, means", hidden4.mean(1), expected["eva.hidden4.channel_mean"], 8e-6)


@torch.inference_mode()
def test_tower_of_all_blocks_gives_the_image_embedding(golden_folder: Path) -> None:
    """The blocks that the product drops fit the same classes: 24 of them, norm and head make the CLIP embedding."""
    from safetensors import safe_open

    from fantasyid_engine.config.schema import TowerConfig
    from fantasyid_engine.models.eva_clip import Tower
    from fantasyid_engine.weights.released_keys import our_name

    tower = Tower(TowerConfig(num_layers=24))
    with safe_open(golden_folder / "face_encoder" / "EVA02_CLIP_L_336_psz14_s6B.safetensors", "pt") as file:
        state = {name: file.get_tensor(key) for key in file.keys() if (name := our_name(key))}
    tower.load_state_dict({name.removeprefix("tower."): value for name, value in state.items()})
    shapes = golden_json("eva_visual_keys")
    norm = [weight(f"norm.{kind}", shapes[f"norm.{kind}"], seed="eva.") for kind in ("weight", "bias")]
    head = [weight(f"head.{kind}", shapes[f"head.{kind}"], seed="eva.") for kind in ("weight", "bias")]
    cls = tower(normal("input.eva_image", 1, 3, 336, 336))[:, 0]
    assert_close("embedding", F.linear(F.layer_norm(cls, (1024,), *norm, 1e-6), *head), golden("eva")["eva.embed"], 8e-6)


def test_embedded_is_the_same_for_every_step(golden_network: Network) -> None:
    """A request's embedding holds tensors only: nothing in it can change from step to step."""
    embedded = golden_network.dit.embed(torch.zeros(1, 16, 4096), 3, 8, 8, torch.zeros(1, 3, 16, 8, 8))
    assert isinstance(embedded, Embedded)
    assert embedded.grid == (3, 4, 4)
