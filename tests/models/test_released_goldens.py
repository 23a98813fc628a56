"""The released form against the outputs of the authors' code, float32 and bfloat16."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from fantasyid_engine.config.schema import TowerConfig
from fantasyid_engine.models.embedding import rotary_factors, rotary_tables
from fantasyid_engine.models.eva_clip import Tower, patch_rotary
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.folder import load_network
from fantasyid_engine.weights.released_keys import our_name
from tests.goldens import assert_close, golden, golden_json, normal, relative_l2, weight
from tests.released_parts import PARTS, Captures, outputs, tolerance

pytestmark = pytest.mark.reference_data


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
        theirs = golden_json("errors")[name]["bf16_vs_f64_rel_l2"]
        error = relative_l2(value, golden("outputs_f32")[name])
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
    tower = Tower(TowerConfig(num_layers=24))
    with safe_open(golden_folder / "face_encoder" / "EVA02_CLIP_L_336_psz14_s6B.safetensors", "pt") as file:
        keys = list(file.keys())
        state = {name: file.get_tensor(key) for key in keys if (name := our_name(key))}
    tower.load_state_dict({name.removeprefix("tower."): value for name, value in state.items()})
    shapes = golden_json("eva_visual_keys")
    norm = [weight(f"norm.{kind}", shapes[f"norm.{kind}"], seed="eva.") for kind in ("weight", "bias")]
    head = [weight(f"head.{kind}", shapes[f"head.{kind}"], seed="eva.") for kind in ("weight", "bias")]
    cls = tower(normal("input.eva_image", 1, 3, 336, 336))[:, 0]
    embedding = F.linear(F.layer_norm(cls, (1024,), *norm, 1e-6), *head)
    assert_close("embedding", embedding, golden("eva")["eva.embed"], 8e-6)
