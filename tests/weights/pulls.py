"""A small model as the authors publish theirs, pulled into a models' home of its own."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file

from fantasyid_engine.weights.licences import LICENCES, accept
from fantasyid_engine.weights.manifest import read_manifest
from fantasyid_engine.weights.present import check_folder
from fantasyid_engine.weights.pull import pull
from fantasyid_engine.weights.released import TOWER_STEM
from tests.small import hierarchy
from tests.weights.hub import Hub
from tests.whole_model import write_released_model

PRESET = "fantasyid-5b"
EVA = f"face_encoder/{TOWER_STEM}.pt"
DIT = "transformer_ema/diffusion_pytorch_model.safetensors"
MESH = "face_encoder/mesh.safetensors"
DETECTOR = "face_encoder/detection_Resnet50_Final.pth"
UNREAD = (
    *("README.md", "model_index.json", "infer.py", "vae/run.py", "face_encoder/models/antelopev2/glintr100.onnx"),
    *("face_encoder/parsing_bisenet.pth", "face_encoder/parsing_parsenet.pth"),
)


def published(folder: Path) -> dict[str, bytes]:
    """Its files by their paths: pickled where theirs are, without a mesh, with much that nobody reads here."""
    write_released_model(folder)
    (folder / "transformer").rename(folder / "transformer_ema")
    tower = (folder / EVA).with_suffix(".safetensors")
    torch.save({f"module.{key}": value for key, value in load_file(tower).items()}, folder / EVA)
    torch.save({"body.conv1.weight": torch.ones(64, 64)}, folder / DETECTOR)
    for path in (tower, folder / MESH, folder / "manifest.json"):
        path.unlink()
    for name in UNREAD:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"nobody reads {name}")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def new_client(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """The hub's client as on a new machine: no token. It writes as it receives, where it would 10 MB at a time."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(folder / "no-token"))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)


def new_home(home: Path) -> Path:
    """A models' home in which the terms are accepted, and the mesh is in its place."""
    accept(home, LICENCES)
    mesh = home / PRESET / MESH
    mesh.parent.mkdir(parents=True)
    hierarchy().save(mesh)
    return home


def pull_from(hub: Hub, home: Path, revision: str | None = None) -> list[str]:
    """Pulls -> the lines that were told."""
    lines: list[str] = []
    pull(PRESET, home, revision=revision, endpoint=hub.endpoint, tell=lines.append)
    return lines


def digests(home: Path) -> dict[str, str]:
    """Of the model's files, all as in its manifest; without the pin, which has the commit."""
    assert [problem for _, problem in check_folder(home / PRESET) if problem] == []
    rows = read_manifest(home / PRESET)
    assert rows is not None
    return {name: row["sha256"] for name, row in rows.items() if name != "source.json"}


def pinned(home: Path) -> str:
    return json.loads((home / PRESET / "source.json").read_text())["commit"]


def left(home: Path) -> list[str]:
    """What is left of a pull's work."""
    return sorted(path.relative_to(home / ".downloads").as_posix() for path in (home / ".downloads").rglob("*"))


def flip(path: Path) -> None:
    """One bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
