"""Plan and engine configuration: what they refuse and say, and the plan as JSON."""

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from fantasyid_engine.config.serialise import from_json_object, to_json_object
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.runtime.plan import EngineConfig, ExecutionPlan

CPU = {"device": "cpu", "precision": "float32"}
PLANS = [
    ({"device": "tpu"}, "ExecutionPlan.device is 'tpu'; it must be one of 'cpu', 'cuda'"),
    ({"device": "cuda:1"}, "ExecutionPlan.device is 'cuda:1'"),
    ({"precision": "auto"}, "ExecutionPlan.precision is 'auto'; it must be one of 'float32', 'bfloat16'"),
    ({"vae_tile": (0, 8)}, "ExecutionPlan.vae_tile is (0, 8); it must be"),
    ({"vae_tile": (8, 65537)}, "ExecutionPlan.vae_tile is (8, 65537)"),
    ({"vae_tile": (8, 8.0)}, "ExecutionPlan.vae_tile is (8, 8.0)"),
    ({"vae_tile": 8}, "ExecutionPlan.vae_tile is 8"),
    ({"vae_tile": ()}, "ExecutionPlan.vae_tile is ()"),
    ({"vae_tile": (8,)}, "ExecutionPlan.vae_tile is (8,)"),
    ({"vae_tile": (8, 8, 8)}, "ExecutionPlan.vae_tile is (8, 8, 8)"),
    ({"backend": "tensorrt"}, "ExecutionPlan.backend is 'tensorrt'"),
    ({"attention": "flash"}, "ExecutionPlan.attention is 'flash'"),
    ({"step_cache": "teacache"}, "ExecutionPlan.step_cache is 'teacache'"),
    ({"batch_size": 2}, "ExecutionPlan.batch_size is 2"),
    ({"parallel": "guidance"}, "ExecutionPlan.parallel is 'guidance'"),
]
JSON = [
    ({"device": "tpu"}, "ExecutionPlan.device is 'tpu'"),
    ({"vae_tile": [8]}, "vae_tile.1: Field required"),
    ({"vae_tile": [8, "8"]}, "vae_tile.1: Input should be a valid integer, not '8'"),
    ({"backend": "tensorrt"}, "backend: Input should be 'eager', 'fused' or 'folded', not 'tensorrt'"),
    ({"tile": 8}, "tile: Unexpected keyword argument"),
    ({"device": None}, "device: Input should be a valid string, not None"),
]
ENGINES = [
    ({"precision": "float16"}, "EngineConfig.precision is 'float16'; it must be one of 'auto', 'float32', 'bfloat"),
    ({"precision": None}, "EngineConfig.precision is None"),
    (
        {"backend": "tensorrt"},
        "EngineConfig.backend is 'tensorrt'; it must be one of 'auto', 'eager', 'fused', 'folded",
    ),
    ({"text_cache": 0}, "EngineConfig.text_cache is 0; it must be an integer from 1 to"),
    ({"text_cache": True}, "EngineConfig.text_cache is True"),
    ({"vae_tile": -1}, "EngineConfig.vae_tile is -1; it must be"),
    ({"vae_tile": 65537}, "EngineConfig.vae_tile is 65537"),
    ({"vae_tile": 1.5}, "EngineConfig.vae_tile is 1.5"),
    ({"vae_tile": ""}, "EngineConfig.vae_tile is ''"),
    ({"device": None}, "EngineConfig.device is None"),
    ({"device": 0}, "EngineConfig.device is 0"),
    ({"require_consent": 1}, "EngineConfig.require_consent is 1; it must be True or False"),
]


def ids(cases: list[tuple[dict[str, Any], str]]) -> list[str]:
    return [str(values) for values, _ in cases]


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param(ExecutionPlan(device="cpu", precision="float32"), id="whole"),
        pytest.param(ExecutionPlan(device="cuda", precision="bfloat16", vae_tile=(8, 65536)), id="tiles"),
    ],
)
def test_plan_survives_json(plan: ExecutionPlan) -> None:
    text = json.dumps(to_json_object(plan))
    assert from_json_object(ExecutionPlan, json.loads(text), Path("x.json")) == plan
    assert set(json.loads(text)) == {
        *("device", "precision", "vae_tile", "backend", "kernels", "attention", "guidance", "step_cache"),
        *("batch_size", "parallel"),
    }


@pytest.mark.parametrize(("values", "message"), PLANS, ids=ids(PLANS))
def test_plan_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        ExecutionPlan(**CPU | values)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize(("values", "message"), JSON, ids=ids(JSON))
def test_plan_from_json_is_checked(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        from_json_object(ExecutionPlan, CPU | values, Path("a.json"))
    assert str(error.value).startswith(f"a.json: {message}") and "\n" not in str(error.value)


@pytest.mark.parametrize("values", [{}, {"device": "cpu"}, {"precision": "float32"}], ids=str)
def test_plan_needs_device_and_precision(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Field required"):
        from_json_object(ExecutionPlan, values, Path("a.json"))


@pytest.mark.parametrize(("values", "message"), ENGINES, ids=ids(ENGINES))
def test_engine_config_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        EngineConfig(**values)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


@pytest.mark.parametrize("tile", [None, 0, 1, 65536])
def test_tiles_that_an_engine_takes(tile: int | None) -> None:
    assert EngineConfig(vae_tile=tile).vae_tile == tile


def test_neither_can_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        EngineConfig().precision = "float32"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(FrozenInstanceError):
        ExecutionPlan(**CPU).device = "cuda"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="positional"):
        ExecutionPlan("cpu", "float32")  # pyright: ignore[reportCallIssue]
