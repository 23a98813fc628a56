"""Whole models with a shape regressor, and of the ablations: saved, loaded, inspected, rendered; and broken folders."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import WeightsError
from fantasyid_engine.models.network import Network
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.weights.folder import load_network
from fantasyid_engine.weights.inspect import inspect_folder
from fantasyid_engine.weights.manifest import read_manifest, write_manifest
from fantasyid_engine.weights.model import Model, load_model, save_model
from tests.face.pictures import avatar, encoded
from tests.small import ABLATIONS, READS_SHAPE, hierarchy, randomise, reads_shape
from tests.whole_model import paper_model

VARIANTS: dict[str, NetworkConfig] = ABLATIONS | {
    "shape": READS_SHAPE,
    "shape without vertices": replace(ABLATIONS["face_vertices"], shape=READS_SHAPE.shape),
}


def network(name: str) -> Network:
    if name == "shape":
        return reads_shape()
    made = Network(VARIANTS[name], hierarchy())
    randomise(made)
    return made.eval()


def model(name: str) -> Model:
    whole = paper_model()
    return replace(whole, network=network(name), render=replace(whole.render, template_vertices=False))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model with a shape regressor, not to be changed."""
    folder = tmp_path_factory.mktemp("variants") / "model"
    save_model(model("shape"), folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(model("shape"), tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.parametrize("name", VARIANTS)
def test_round_trip_and_render(name: str, tmp_path: Path) -> None:
    """The loaded model has the same config and weights, and makes the same frames, in two steps, without vertices."""
    made = model(name)
    if made.network.config.takes_vertices and made.network.shape is None:
        made = replace(made, render=replace(made.render, template_vertices=True))
    save_model(made, tmp_path / "model")
    loaded = load_model(tmp_path / "model", dtype=torch.float32)
    assert loaded.network.config == VARIANTS[name]
    state, expected = loaded.network.state_dict(), made.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in state.items())
    request = VideoRequest(
        image=encoded(avatar(80), "PNG"), prompt="smiles", seed=3, num_inference_steps=2, num_frames=1
    )
    frames = []
    for one in (made, loaded):
        with Engine(one) as engine:
            frames.append(engine.generate(request).frames)
    assert frames[0].std() > 1, "a flat picture"
    assert np.array_equal(frames[0], frames[1])


@pytest.mark.parametrize("name", VARIANTS)
def test_shape_has_a_file_of_its_own_where_there_is_one(name: str, tmp_path: Path) -> None:
    save_model(model(name), tmp_path / "model")
    files = {path.name for path in (tmp_path / "model").glob("*.safetensors")}
    always = {"tower.safetensors", "conditioner.safetensors", "dit.safetensors", "mesh.safetensors"}
    assert files == (always | {"shape.safetensors"} if "shape" in name else always)


def test_every_file_is_hashed(original: Path) -> None:
    """In the manifest, and in the digests that a render's record states."""
    rows = read_manifest(original)
    assert rows is not None and "shape.safetensors" in rows
    assert load_model(original).digests["shape.safetensors"] == rows["shape.safetensors"]["sha256"]


def test_bfloat16_keeps_the_basis(original: Path) -> None:
    loaded, made = load_network(original, dtype=torch.bfloat16).shape, reads_shape().shape
    assert loaded is not None and made is not None
    assert torch.equal(loaded.mean, made.mean) and torch.equal(loaded.basis, made.basis)
    assert loaded.out.weight.dtype == torch.bfloat16
    assert not loaded.training and not any(p.requires_grad for p in loaded.parameters())
    assert not loaded.mean.is_meta and not loaded.basis.is_meta


@pytest.mark.parametrize("name", VARIANTS)
def test_inspect(name: str, tmp_path: Path) -> None:
    """All is live, and counted; the shape regressor is a row."""
    made = model(name)
    save_model(made, tmp_path / "model")
    report = inspect_folder(tmp_path / "model")
    assert (report.form, report.id_tokens) == ("paper", VARIANTS[name].num_id_tokens)
    assert sum(m.parameters for m in report.modules) == sum(t.numel() for t in made.network.state_dict().values())
    assert all(module.dead == 0 for module in report.modules) and report.dead == []
    rows = {module.name: module for module in report.modules}
    assert ("shape" in rows) == ("shape" in name)
    assert ("conditioner.vertex_net" in rows) and ("conditioner.abstractor" in rows)
    if "shape" in name:
        assert rows["shape"].tensors == 10 and rows["shape"].dtypes == {"F32": 10}
        assert "shape.safetensors" in [file.path for file in report.files]


def edit(path: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refused(folder: Path) -> str:
    with pytest.raises(WeightsError) as error:
        load_network(folder)
    message = str(error.value)
    assert "\n" not in message and str(folder) in message
    return message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.pop("shape.basis"), "1 missing: shape.basis"),
        (lambda t: t.update({"shape.more": torch.zeros(2)}), "1 unknown: shape.more"),
        (lambda t: t.update({"shape.mean": torch.zeros(161, 3)}), "shape.mean [161, 3] instead of [162, 3]"),
        (lambda t: t.update({"shape.basis": torch.zeros(2, 162, 3)}), "shape.basis [2, 162, 3] instead of [3, 162, 3]"),
        (lambda t: t.update({"shape.mean": torch.zeros(162, 3).int()}), "shape.mean I32"),
    ],
    ids=["missing", "unknown", "other mesh", "other directions", "integers"],
)
def test_keys_that_do_not_fit(folder: Path, change: Callable[[dict[str, Tensor]], object], says: str) -> None:
    edit(folder / "shape.safetensors", change)
    write_manifest(folder)
    assert says in refused(folder)


def test_file_that_is_missing(folder: Path) -> None:
    (folder / "shape.safetensors").unlink()
    assert "expected shape.safetensors" in refused(folder)


def test_file_that_is_corrupt(folder: Path) -> None:
    path = folder / "shape.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "shape.safetensors is corrupt" in refused(folder)


def test_weights_of_another_row(tmp_path: Path) -> None:
    """A folder whose config says there are no vertices, and whose weights have a mesh."""
    save_model(model("layer_aware_injection"), tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    values = json.loads(path.read_text())
    values["network"]["conditioner"]["face_vertices"] = False
    path.write_text(json.dumps(values))
    write_manifest(tmp_path / "model")
    assert "unknown: conditioner.vertex_net." in refused(tmp_path / "model")
