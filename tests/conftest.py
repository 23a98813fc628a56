"""Fixtures: the authors' small golden model on disk in their layout, and loaded by the product's loader."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

# Tests in several processes share the cores; threads of all of them at once would make each other crawl.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
# Before anything imports Triton: without a GPU its kernels are interpreted.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
# Products on a GPU are repeatable only with it, and say so where it is missing.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

from safetensors.torch import save_file

from fantasyid_engine.models.network import Network
from fantasyid_engine.video.development import development_signer
from fantasyid_engine.weights.convert import convert
from fantasyid_engine.weights.folder import load_network
from tests.goldens import golden_json, require_reference, weight


def pytest_configure() -> None:
    """What a shell runs in the background ignores interrupts, and so would all that tests start and interrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need a GPU are skipped, with the reason, where there is none; the longest test comes first."""
    # Of this list each worker gets a run, in order, and steals from the ends of the others': what trains for minutes
    # goes on beside all else if it begins first; if last, all other workers are done and wait for it.
    items.sort(key=lambda item: item.path.name != "test_tiny.py")
    for marker, needed in (("gpu", 1), ("multi_gpu", 2)):
        if torch.cuda.device_count() < needed:
            for item in items:
                if item.get_closest_marker(marker):
                    item.add_marker(pytest.mark.skip(reason=f"needs {needed} CUDA device(s)"))


@pytest.fixture(scope="session", autouse=True)
def development_certificate(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Renders of all tests are signed with one that is made for them, not with the user's."""
    os.environ["FANTASYID_DATA"] = str(tmp_path_factory.mktemp("data"))
    for name in ("FANTASYID_SIGNING_CERT", "FANTASYID_SIGNING_KEY", "FANTASYID_REQUIRE_CONSENT"):
        os.environ.pop(name, None)
    development_signer()


@pytest.fixture(scope="session")
def golden_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The goldens' 2-layer model, rebuilt by the recipe under the authors' key names, in the authors' layout."""
    reference = require_reference()
    folder = tmp_path_factory.mktemp("released")
    transformer, face_encoder = folder / "transformer", folder / "face_encoder"
    transformer.mkdir()
    face_encoder.mkdir()

    manifest = golden_json("manifest")
    (transformer / "config.json").write_text(json.dumps(manifest["config"]))
    weights = {key: weight(key, shape) for key, (shape, *_) in manifest["weights"].items()}
    for key, (_, total, first, _) in manifest["weights"].items():
        assert weights[key].flatten()[0].item() == pytest.approx(first, rel=1e-5, abs=1e-7), key
        assert weights[key].double().sum().item() == pytest.approx(total, rel=1e-4, abs=1e-2), key
    save_file(weights, transformer / "diffusion_pytorch_model.safetensors")

    tower = {
        f"visual.{key}": torch.zeros(shape) if "rope.freqs" in key else weight(key, shape, seed="eva.")
        for key, shape in golden_json("eva_visual_keys").items()
    }
    save_file(tower, face_encoder / "EVA02_CLIP_L_336_psz14_s6B.safetensors")
    convert(reference / "faces" / "transform.pkl", face_encoder / "mesh.safetensors")
    yield folder
    for file in folder.rglob("*.safetensors"):
        file.unlink()


@pytest.fixture(scope="session")
def golden_network(golden_folder: Path) -> Network:
    """The golden model in float32."""
    return load_network(golden_folder, dtype=torch.float32)
