"""Configs refuse what cannot be, name field, value and what is allowed, and survive JSON."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.config.schema import (
    AbstractorConfig,
    DiTConfig,
    FusionConfig,
    InjectionConfig,
    MeshConfig,
    NetworkConfig,
    PaperConditionerConfig,
    QFormerConfig,
    ReleasedConditionerConfig,
    ResConvConfig,
    ShapeConfig,
    TowerConfig,
)
from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError
from tests.small import ABLATIONS, PAPER, Q_FORMER, READS_SHAPE, RELEASED

NETWORKS = {"5B": NetworkConfig(), "released": RELEASED, "paper": PAPER, "reads shape": READS_SHAPE} | ABLATIONS


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
def test_json_round_trip(config: NetworkConfig) -> None:
    text = json.dumps(to_json_object(config))
    assert from_json_object(NetworkConfig, json.loads(text), Path("x")) == config


def test_json_of_before_the_ablations() -> None:
    """Neither a form of the abstractor, nor `face_vertices`, nor `shape`: what they leave out is as it was."""
    values = to_json_object(PAPER)
    del values["conditioner"]["face_vertices"], values["shape"]
    assert "form" not in values["conditioner"]["abstractor"]
    assert from_json_object(NetworkConfig, values, Path("x")) == PAPER


def test_numbers_of_the_ablations() -> None:
    assert {name: config.num_id_tokens for name, config in ABLATIONS.items()} == {
        "face_abstractor": 12,
        "face_vertices": 4,
        "layer_aware_injection": 12,
    }
    assert [name for name, config in NETWORKS.items() if not config.takes_vertices] == ["face_vertices"]
    both = replace(ABLATIONS["face_vertices"].conditioner, abstractor=replace(Q_FORMER, num_queries=7))
    assert replace(PAPER, conditioner=both).num_id_tokens == 7
    assert QFormerConfig().num_tokens == AbstractorConfig().num_tokens


def test_released_numbers() -> None:
    config = NetworkConfig()
    assert config.form == "released"
    assert config.dit.dim == 3072
    assert config.dit.image_channels == 16
    assert config.dit.sample_grid == (13, 30, 45)
    assert config.dit.num_injections == 42
    assert config.dit.injection is not None and config.dit.injection.inner_dim == 2048
    assert config.tower.grid == 24
    assert config.num_id_tokens == 36 + 79
    assert isinstance(config.conditioner, ReleasedConditionerConfig)
    assert config.conditioner.reducer.output_length(5023) == 79


WRONG: list[tuple[type, dict[str, Any], str]] = [
    (DiTConfig, {"num_layers": 0}, "DiTConfig.num_layers is 0; it must be an integer from 1 to 1000"),
    (DiTConfig, {"num_layers": True}, "num_layers is True"),
    (DiTConfig, {"num_layers": 2.0}, "num_layers is 2.0"),
    (DiTConfig, {"attention_head_dim": 40}, "multiple of 16"),
    (DiTConfig, {"in_channels": 8}, "at least out_channels (16)"),
    (DiTConfig, {"sample_width": 91}, "multiple of patch_size (2)"),
    (DiTConfig, {"sample_height": 61}, "multiple of patch_size (2)"),
    (DiTConfig, {"sample_frames": 48}, "1 more than a multiple"),
    (InjectionConfig, {"form": "other"}, "one of 'released', 'layer_aware', 'shared'"),
    (InjectionConfig, {"interval": 0}, "interval is 0"),
    (TowerConfig, {"image_size": 330}, "image_size is 330"),
    (TowerConfig, {"width": 1000}, "width is 1000"),
    (AbstractorConfig, {"pool": 5}, "grid is 24"),
    (AbstractorConfig, {"hidden_dim": 30}, "hidden_dim is 30"),
    (QFormerConfig, {"form": "other"}, "one of 'q_former'"),
    (QFormerConfig, {"num_queries": 0}, "num_queries is 0"),
    (QFormerConfig, {"depth": 1001}, "from 1 to 1000"),
    (QFormerConfig, {"num_heads": 3}, "multiple of num_heads (3)"),
    (QFormerConfig, {"norm_eps": 0.0}, "norm_eps is 0.0"),
    (ShapeConfig, {"names": ()}, "names is ()"),
    (ShapeConfig, {"names": ("a", "b", "a")}, "different words"),
    (ShapeConfig, {"names": ("face width",)}, "different words"),
    (ShapeConfig, {"names": ("jaw=1",)}, "different words"),
    (ShapeConfig, {"names": "jaw"}, "a tuple"),
    (ShapeConfig, {"names": (1,)}, "a tuple"),
    (ShapeConfig, {"names": ("jaw",), "hidden_dim": 0}, "hidden_dim is 0"),
    (ShapeConfig, {"names": ("jaw",), "token_dim": 0}, "token_dim is 0"),
    (FusionConfig, {"num_heads": 5}, "dim is 128"),
    (ResConvConfig, {"kernels": (3,)}, "4 long"),
    (ResConvConfig, {"strides": (1, 1)}, "4 long"),
    (ResConvConfig, {"groups": 7}, "multiples of groups (7)"),
    (ResConvConfig, {"kernels": (3, 3, 3, 4)}, "odd"),
    (ReleasedConditionerConfig, {"fusion": FusionConfig(dim=96)}, "power of two times fusion.dim (96)"),
    (PaperConditionerConfig, {"resconv": ResConvConfig()}, "of stride 1"),
    (PaperConditionerConfig, {"fusion": FusionConfig(dim=6, num_heads=2)}, "multiple of 4"),
    (ResConvConfig, {"groups": 0}, "groups is 0"),
    (ResConvConfig, {"channels": (), "kernels": (), "strides": ()}, "channels is ()"),
    (ResConvConfig, {"strides": (0, 0, 0, 0)}, "strides is (0, 0, 0, 0)"),
    (ResConvConfig, {"channels": (-8, 8, 8, 8)}, "channels is (-8, 8, 8, 8)"),
    (DiTConfig, {"rotary_base_grid": (0, 0)}, "rotary_base_grid is (0, 0)"),
    (DiTConfig, {"spatial_interpolation_scale": 0.0}, "above 0"),
    (DiTConfig, {"num_layers": 1001}, "from 1 to 1000"),
    (MeshConfig, {"levels": (10.5, 5, 2)}, "levels is (10.5, 5, 2)"),
    (DiTConfig, {"norm_eps": "x"}, "norm_eps is 'x'; it must be a finite number above 0"),
    (DiTConfig, {"spatial_interpolation_scale": float("inf")}, "spatial_interpolation_scale is inf"),
    (InjectionConfig, {"norm_eps": -1}, "norm_eps is -1"),
    (PaperConditionerConfig, {"depth_octaves": float("nan")}, "depth_octaves is nan"),
    (MeshConfig, {"levels": [3, 2, 1]}, "levels is [3, 2, 1]"),
    (MeshConfig, {"levels": (10, 20, 5)}, "three falling vertex counts"),
    (MeshConfig, {"levels": (10, 5)}, "three falling vertex counts"),
    (NetworkConfig, {"tower": TowerConfig(width=512)}, "in_dim is 1024; tower.width is 512; they must agree"),
    (NetworkConfig, {"tower": TowerConfig(image_size=350)}, "grid is 24; the tower's grid is 25"),
    (NetworkConfig, {"dit": DiTConfig(injection=None)}, "has no injection"),
    (NetworkConfig, {"dit": DiTConfig(injection=InjectionConfig(id_dim=1024))}, "last width is 2048"),
    (NetworkConfig, {"dit": DiTConfig(injection=InjectionConfig(form="shared"))}, "conditioner.form is 'released'"),
    (NetworkConfig, {"shape": ShapeConfig(names=("jaw",))}, "only networks of the paper's form"),
    (NetworkConfig, {"conditioner": PaperConditionerConfig(abstractor=Q_FORMER)}, "in_dim is 32; tower.width is 1024"),
    (ScheduleConfig, {"prediction_type": "sample"}, "one of 'v_prediction', 'epsilon'"),
    (ScheduleConfig, {"prediction_type": "epsilon"}, "v_prediction where the last timestep is pure noise"),
    (ScheduleConfig, {"beta_end": 2.0}, "beta_end is 2.0"),
    (ScheduleConfig, {"snr_shift_scale": 0.0}, "above 0"),
]


@pytest.mark.parametrize(("kind", "values", "message"), WRONG, ids=[f"{k.__name__}-{m[:30]}" for k, _, m in WRONG])
def test_impossible_values(kind: type, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        kind(**values)
    assert message in str(error.value)
    assert kind.__name__ in str(error.value)


def test_configs_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        RELEASED.dit.num_layers = 3  # pyright: ignore[reportAttributeAccessIssue]
    assert replace(RELEASED.dit, num_layers=5).num_layers == 5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dot": {}}, "dot: Unexpected keyword argument"),
        ({"dit": {"num_layers": 0}}, "num_layers is 0"),
        ({"dit": {"num_layer": 3}}, "dit.num_layer"),
        ({"dit": {"num_layers": "x"}}, "dit.num_layers"),
        ({"dit": {"num_layers": "3"}}, "dit.num_layers: Input should be a valid integer, not '3'"),
        ({"dit": {"norm_eps": float("nan")}}, "norm_eps is nan"),
        ({"dit": {"num_layers": 3.0}}, "dit.num_layers"),
        ({"dit": {"num_layers": True}}, "dit.num_layers"),
        ({"conditioner": {"form": "paper", "depth_octave": 3}}, "depth_octave"),
        ({"conditioner": {"form": "other"}}, "'released', 'paper'"),
        ({"conditioner": {}}, "form"),
        ({"conditioner": {"form": "paper", "face_vertices": 1}}, "face_vertices: Input should be a valid boolean"),
        ({"conditioner": {"form": "paper", "abstractor": {"form": "x"}}}, "form must be 'q_former', or left out"),
        ({"conditioner": {"form": "paper", "abstractor": {"form": None}}}, "form must be 'q_former', or left out"),
        ({"conditioner": {"form": "paper", "abstractor": {"grid": "x"}}}, "grid: Input should be a valid integer"),
        ({"conditioner": {"form": "paper", "abstractor": {"pool": 5}}}, "grid is 24; it must be a multiple of pool"),
        ({"conditioner": {"form": "paper", "abstractor": 3}}, "Input should be an object, not 3"),
        (
            {"conditioner": {"form": "paper", "abstractor": {"form": "q_former", "grid": 24}}},
            "grid: Unexpected keyword",
        ),
        ({"conditioner": {"form": "released", "abstractor": {"form": "q_former"}}}, "form: Unexpected keyword"),
        ({"shape": {}}, "shape.names: Field required"),
        ({"shape": {"names": ["jaw"]}}, "only networks of the paper's form"),
        ({"shape": {"names": [3]}}, "shape.names.0: Input should be a valid string, not 3"),
        ({"conditioner": {"form": "released", "reducer": {"groups": 0}}}, "groups is 0"),
        ([], "should be an object"),
        (None, "should be an object"),
    ],
)
def test_json_that_is_no_config(values: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=r"^file\.json: ") as error:
        from_json_object(NetworkConfig, values, Path("file.json"))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
