"""The doctor: ready here, and for each thing that is missing its name, a reason, and what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import av.codec
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from fantasyid_engine import _native, doctor
from fantasyid_engine.cli import app
from fantasyid_engine.doctor import Check, Report, examine
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.face import haar
from tests.face_networks import write_model_with_faces
from tests.whole_model import write_released_model

NEEDED = {"python", "native module", "video codecs", "face detector", "cpu", "tiny render"}
OPTIONAL = {"HEIC photos", "triton", "flash-attn", "tensorrt", "model fantasyid-5b"}
WEIGHTS = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture(autouse=True)
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANTASYID_MODELS", str(tmp_path / "models"))


@pytest.fixture
def no_render(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last check is a fake where only the others are looked at."""
    monkeypatch.setattr(doctor, "_render", lambda: "a fake")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole model; each test leaves it as it was."""
    return write_released_model(tmp_path_factory.mktemp("doctor") / "model")


def fail(*arguments: object, **options: object) -> NoReturn:
    raise RuntimeError("it broke\nwith a second line")


def check(report: Report, name: str) -> Check:
    (found,) = (check for check in report.checks if check.name == name)
    return found


def test_ready_here_as_json(tmp_path: Path) -> None:
    """Through the command, with a real render."""
    done = CliRunner().invoke(app, ["doctor", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report.keys() == {"ready", "checks"} and report["ready"] is True
    states = {check["name"]: check["state"] for check in report["checks"]}
    assert states.keys() >= NEEDED | OPTIONAL | {"model avatar-mini"}
    assert {states[name] for name in NEEDED} == {"ok"} and "missing" not in states.values()
    assert states["model fantasyid-5b"] == "optional"
    for entry in report["checks"]:
        assert entry.keys() == {"name", "state", "detail", "fix"}
        assert entry["detail"] and (entry["state"] == "ok") == (not entry["fix"])
    assert list(states)[-1] == "tiny render"


@pytest.mark.parametrize(
    ("name", "breaks", "fix"),
    [
        ("native module", (_native, "build_info", fail), "pip install --force-reinstall fantasyid-engine"),
        (
            "native module",
            (_native, "build_info", lambda: {"version": "0.0", "compiler": "x", "threads": 1}),
            "pip install --force-reinstall fantasyid-engine",
        ),
        ("video codecs", (av.codec, "Codec", fail), "pip install 'av>=18,<19'"),
        ("face detector", (haar, "HaarDetector", fail), "pip install 'opencv-python-headless>=4.12,<5'"),
    ],
    ids=["native module", "native module of another version", "video codecs", "face detector"],
)
def test_a_missing_part(
    monkeypatch: pytest.MonkeyPatch, name: str, breaks: tuple[Any, str, Callable[..., Any]], fix: str
) -> None:
    """Fakes that fail stand in for the part. Nothing is rendered, and the fix is the first thing to do."""
    monkeypatch.setattr(*breaks)
    monkeypatch.setattr(doctor, "_render", lambda: pytest.fail("rendered"))
    report = examine()
    found = check(report, name)
    assert (found.state, found.fix) == ("missing", fix)
    assert found.detail and "\n" not in found.detail
    assert not report.ready and report.fixes == [fix]
    assert "tiny render" not in {check.name for check in report.checks}


def test_a_render_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is a fake: everything is there, and still it does not render."""
    monkeypatch.setattr(doctor.Engine, "from_preset", fail)
    report = examine()
    found = check(report, "tiny render")
    assert (found.state, found.detail) == ("missing", "it broke") and found.fix
    assert not report.ready


def test_what_is_optional_is_not_missed(monkeypatch: pytest.MonkeyPatch, no_render: None) -> None:
    """No extra is installed, by a fake of the search for modules."""
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    report = examine()
    assert report.ready and report.fixes == []
    for name in OPTIONAL:
        assert check(report, name).state == "optional" and check(report, name).fix
    assert "fantasyid-engine[heif]" in check(report, "HEIC photos").fix


def fake_gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"Fake GPU {index}")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**34, 2**35))
    for name in ("memory_reserved", "memory_allocated"):
        monkeypatch.setattr(torch.cuda, name, lambda device: 0)


def test_gpus_are_named(monkeypatch: pytest.MonkeyPatch, no_render: None) -> None:
    """Two fakes."""
    fake_gpus(monkeypatch, 2)
    report = examine()
    assert check(report, "cuda:1") == Check("cuda:1", "ok", "Fake GPU 1, 16.0 GiB free")
    assert "gpu" not in {check.name for check in report.checks}


def test_a_broken_gpu_is_named(monkeypatch: pytest.MonkeyPatch, no_render: None) -> None:
    """The driver's error is a fake; it must not end the examination."""
    fake_gpus(monkeypatch, 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
    found = check(examine(), "cuda:0")
    assert found.state != "ok" and "it broke" in found.detail and "\n" not in found.detail


def test_a_whole_model(folder: Path, no_render: None) -> None:
    found = check(examine(str(folder)), "model files")
    assert found.state == "ok" and str(folder) in found.detail and found.detail.endswith("as in its manifest")
    (folder / "manifest.json").rename(folder / "away")
    try:
        assert check(examine(str(folder)), "model files").detail.endswith("no manifest")
    finally:
        (folder / "away").rename(folder / "manifest.json")


def test_networks_that_read_real_faces(folder: Path, tmp_path: Path, no_render: None) -> None:
    """Each is optional; what fetches it is said. One that is damaged is not left aside."""
    names = [f"face network {stem}" for stem in ("detection_Resnet50_Final", "deca_model", "flame")]
    report = examine(str(folder))
    assert report.ready and [check(report, name).state for name in names] == ["optional"] * 3
    assert "weights pull fantasyid-5b" in check(report, names[0]).fix
    assert "weights convert generic_model.pkl" in check(report, names[2]).fix

    model = write_model_with_faces(tmp_path / "model")
    assert [check(examine(str(model)), name).state for name in names] == ["ok"] * 3
    (model / "manifest.json").unlink()
    save_file({"template": torch.zeros(3, 3)}, model / "face_encoder" / "flame.safetensors")
    found = check(examine(str(model)), "face networks")
    assert found.state == "missing" and "flame.safetensors" in found.fix


def unlink(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("path", "change", "manifest", "says"),
    [
        pytest.param("vae/config.json", unlink, True, "is missing", id="config gone"),
        pytest.param(WEIGHTS, unlink, True, "no weights in", id="weights gone"),
        pytest.param(WEIGHTS, flip, True, "is corrupt", id="flipped bit"),
        pytest.param(WEIGHTS, cut, True, "bytes instead of", id="cut"),
        pytest.param(WEIGHTS, cut, False, "is truncated", id="cut, without a manifest"),
        pytest.param("tokenizer/spiece.model", unlink, False, "tokenizer", id="vocabulary gone"),
    ],
)
def test_a_broken_model(
    folder: Path, no_render: None, path: str, change: Callable[[Path], None], manifest: bool, says: str
) -> None:
    data, rows = (folder / path).read_bytes(), (folder / "manifest.json").read_bytes()
    if not manifest:
        (folder / "manifest.json").unlink()
    change(folder / path)
    try:
        report = examine(str(folder))
    finally:
        (folder / path).write_bytes(data)
        (folder / "manifest.json").write_bytes(rows)
    found = check(report, "model files")
    assert found.state == "missing" and not report.ready
    assert says in found.fix and str(folder) in found.fix and "\n" not in found.fix
    assert report.fixes == [found.fix]


@pytest.mark.parametrize("model", ["nowhere", "fantasyid-5b"])
def test_no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, no_render: None, model: str) -> None:
    """A preset is looked for where models are kept."""
    monkeypatch.chdir(tmp_path)
    report = examine(model)
    expected = Path("nowhere") if model == "nowhere" else tmp_path / "models" / model
    assert not report.ready and report.fixes == [f"no model folder at {expected}"]


def test_a_model_in_the_package_has_no_files_to_check(no_render: None) -> None:
    report = examine("avatar-mini")
    assert report.ready and "model files" not in {check.name for check in report.checks}


def test_not_ready_on_the_screen(monkeypatch: pytest.MonkeyPatch, no_render: None) -> None:
    """Ends with the exit code of a wrong setup, and what to do on the last line."""
    done = CliRunner().invoke(app, ["doctor", "--model", "nowhere"])
    assert done.exit_code == ConfigError.exit_code
    assert done.stdout.splitlines()[-1] == "not ready: no model folder at nowhere"
    assert any(line.startswith("missing  model files") for line in done.stdout.splitlines())
