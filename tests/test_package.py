"""The package as it is installed: the native module, the core without extras, the wheel's content."""

import os
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from fantasyid_engine import __version__, _native

ROOT = Path(__file__).parents[1]


def test_native_module() -> None:
    info = _native.build_info()
    assert info["version"] == __version__
    assert info["cxx_standard"] >= 201703
    assert info["threads"] >= 1
    assert re.match(r"(gcc|clang) \d", info["compiler"])


def test_native_module_matches_its_stub() -> None:
    stub = (ROOT / "csrc" / "_native.pyi").read_text()
    public = {name for name in dir(_native) if not name.startswith("_")}
    assert public == set(re.findall(r"^(?:def|class) (\w+)\b(?!\(TypedDict)", stub, re.MULTILINE))


def test_the_nine_packages_are_named() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [name for extra in project["project"]["optional-dependencies"].values() for name in extra]
    named = project["build-system"]["requires"] + project["project"]["dependencies"] + extras
    names = {re.split(r"[^A-Za-z0-9_-]", name)[0] for name in named}
    nine = {"torch", "triton", "flash-attn", "tensorrt", "onnx", "diffusers", "pybind11", "nvidia-ml-py", "typer"}
    assert nine <= names


PROMISED = """
import importlib, importlib.metadata, pkgutil, sys
import torch, triton, diffusers, pynvml, typer, pydantic, safetensors
import fantasyid_engine
from fantasyid_engine import _native
needs_extra = {"fantasyid_engine.models.mesh_build": "mesh"}
serve = ["fastapi", "prometheus_client", "sqlalchemy", "standardwebhooks", "starlette", "structlog", "uvicorn"]
serve += ["uvloop", "httpx"]
may_lack = {"accelerate": "fantasyid_engine.training."} | dict.fromkeys(serve, "fantasyid_engine.server.")
names = [m.name for m in pkgutil.walk_packages(fantasyid_engine.__path__, "fantasyid_engine.")]
for name in names:
    if name not in needs_extra:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(may_lack.get(error.name, "nothing")):
                raise
installed = {d.metadata["Name"].lower() for d in importlib.metadata.distributions()}
extras = {"trimesh", "scipy", "onnx", "pytest", "accelerate", "tensorboard", "onnxruntime", "tensorrt", "flash-attn"}
extras |= {"fastapi", "sqlalchemy", "uvicorn"}
assert not installed & extras, installed
from fantasyid_engine.evaluation.instruments import avatar_instruments
import numpy as np
from PIL import Image
from importlib.resources import files
with (files("fantasyid_engine") / "face" / "avatar_example.png").open("rb") as file:
    example = np.array(Image.open(file).convert("RGB"))
tools = avatar_instruments()
box, = tools.detector.detect(example)
tools.embedder.embed([example], [box])
tools.observer.attributes(example[None], [box])
from diffusers import AutoencoderKLCogVideoX
from transformers import T5EncoderModel
print(len(names), _native.build_info()["version"])
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT]
    subprocess.run(command, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_wheel_holds_the_mapped_folders(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    parts = ("cli", "kernels", "training", "export")
    for part in ("models/dit.py", *(f"{folder}/__init__.py" for folder in parts)):
        assert f"fantasyid_engine/{part}" in names
    for part in ("py.typed", "_native.pyi"):
        assert f"fantasyid_engine/{part}" in names
    data = ("avatar_detector.safetensors", "avatar_example.png")
    pages = ("avatar_recogniser.safetensors", "avatar_observer.safetensors", "report.html.jinja", "study.html.jinja")
    assert {f"fantasyid_engine/face/{name}" for name in data} <= set(names)
    assert {f"fantasyid_engine/evaluation/{name}" for name in pages} <= set(names)
    assert any(re.fullmatch(r"fantasyid_engine/_native\..+\.so", name) for name in names)
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fantasyid_engine"}
    assert not [name for name in names if "__pycache__" in name]


def test_core_alone_imports_all_it_promises(wheel: Path, tmp_path: Path) -> None:
    """A fresh environment with the wheel and no extras."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt"]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, wheel], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [python, "-W", "ignore", "-c", PROMISED]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    count, version = done.stdout.split()
    assert version == __version__
    assert int(count) > 30
    run = [python.with_name("fantasyid-engine"), "train"]
    listed = subprocess.run(
        [*run, "recipes"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "avatar-mini-without-multi-view" in listed.stdout
    serve = subprocess.run(
        [run[0], "serve", "--port", "0"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert serve.returncode == 78 and "pip install 'fantasyid-engine[serve]'" in serve.stderr, serve.stderr
    for arguments in (["avatar-mini", "--out", "x"], ["export", "x", "y"]):
        lacking = subprocess.run(
            [*run, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert lacking.returncode == 78, lacking.stderr
        assert "needs accelerate and tensorboard: pip install 'fantasyid-engine[training]'" in lacking.stderr
