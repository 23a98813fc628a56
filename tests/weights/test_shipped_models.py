"""The miniature in the package: its files."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from fantasyid_engine.config.presets import MINIATURES
from fantasyid_engine.engine import Engine
from fantasyid_engine.weights.shipped import MODELS

MOST_BYTES = 24 * 10**6
FLOAT32 = ("conditioner.vertex_net.", "shape.mean", "shape.basis")


@pytest.fixture(scope="module", params=sorted(MINIATURES))
def folder(request: pytest.FixtureRequest) -> Path:
    return MODELS / request.param


def test_files_are_few_and_small(folder: Path) -> None:
    """One file a component, half precision but for what stays float32."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    weights = {path.relative_to(folder).as_posix() for path in files if path.suffix == ".safetensors"}
    parts = {"conditioner", "dit", "mesh", "shape", "tower", "text_encoder/model", "vae/diffusion_pytorch_model"}
    assert weights == {f"{part}.safetensors" for part in parts}
    for path in files:
        assert path.suffix in (".safetensors", ".json"), "nothing in it runs"
        if path.suffix == ".safetensors" and path.stem != "mesh":
            with safe_open(path, "pt") as file:
                kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
            assert {kind for name, kind in kinds.items() if not name.startswith(FLOAT32)} == {"F16"}


def test_it_opens_by_name(folder: Path) -> None:
    with Engine.from_preset(folder.name, device="cpu") as engine:
        model = engine.model
        assert model.name == folder.name
        assert model.network.config.shape is not None
        assert model.network.tower.cls_token.dtype == torch.float32
        assert set(model.digests) >= {"dit.safetensors", "vae/config.json"}
