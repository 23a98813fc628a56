"""What a render needs of a machine, checked part by part, and then all together by a tiny render."""

import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from fantasyid_engine import __version__
from fantasyid_engine.config.presets import MINIATURES, PRESETS
from fantasyid_engine.config.serialise import read_json_object
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import ConfigError, EngineError, WeightsError
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.runtime.device import memory_at_hand
from fantasyid_engine.weights.faces import face_files, read_faces
from fantasyid_engine.weights.folder import describe, model_files
from fantasyid_engine.weights.home import model_home
from fantasyid_engine.weights.manifest import verify_files
from fantasyid_engine.weights.parts import part_files, read_schedule, read_tokenizer
from fantasyid_engine.weights.shards import read_entries
from fantasyid_engine.weights.shipped import MODELS
from fantasyid_engine.weights.sources import SOURCES, ByHand

State = Literal["ok", "optional", "missing"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: `ok`, `optional` (not there, and not needed to render), or `missing`, with its fix."""

    name: str
    state: State
    detail: str
    fix: str = ""


@dataclass(slots=True)
class Report:
    """All checks of a machine."""

    checks: list[Check] = field(default_factory=list)

    @property
    def ready(self) -> bool:
        """Whether nothing that a render needs is missing."""
        return not self.fixes

    @property
    def fixes(self) -> list[str]:
        """What to do, the most basic first."""
        return [check.fix for check in self.checks if check.state == "missing"]


def examine(model: str | None = None) -> Report:
    """Checks this machine, and the files of `model` (a preset or a folder) where one is named."""
    report = Report([_python(), _guarded("native module", _native, "pip install --force-reinstall fantasyid-engine")])
    report.checks += [
        _guarded("video codecs", _codecs, "pip install 'av>=18,<19'"),
        _guarded("face detector", _detector, "pip install 'opencv-python-headless>=4.12,<5'"),
        *_devices(),
        _optional("HEIC photos", "pillow_heif", "pip install 'fantasyid-engine[heif]'"),
        _optional("triton", "triton", "pip install triton"),
        _optional("flash-attn", "flash_attn", "pip install 'fantasyid-engine[flash-attn]'"),
        _optional("tensorrt", "tensorrt", "pip install 'fantasyid-engine[tensorrt]'"),
        *(_preset(name) for name in PRESETS),
    ]
    if model is not None and model not in MINIATURES:
        folder = Path(model) if model not in PRESETS else model_home() / model
        report.checks.append(_model(folder))
        if report.ready:
            report.checks += _faces(folder)
    if report.ready:
        report.checks.append(_guarded("tiny render", _render, "report this line with the error that it names"))
    return report


def _guarded(name: str, look: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name, "ok", look())
    except Exception as error:  # a doctor names whatever is wrong
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        return Check(name, "missing", reason, fix)


def _optional(name: str, module: str, fix: str) -> Check:
    found = find_spec(module) is not None
    return Check(name, "ok" if found else "optional", "installed" if found else "not installed", "" if found else fix)


def _python() -> Check:
    return Check(
        "python", "ok", f"{platform.python_version()}, fantasyid-engine {__version__}, torch {torch.__version__}"
    )


def _native() -> str:
    from fantasyid_engine._native import build_info

    info = build_info()
    if info["version"] != __version__:
        raise RuntimeError(f"the module is of version {info['version']}, the package of {__version__}")
    return f"{info['compiler']}, {info['threads']} threads"


def _codecs() -> str:
    from av.codec import Codec

    return ", ".join(Codec(name, "w").long_name for name in ("libx264", "prores_ks", "png"))


def _detector() -> str:
    from fantasyid_engine.face.haar import HaarDetector

    HaarDetector().detect(np.zeros((64, 64, 3), dtype=np.uint8))
    return "OpenCV's Haar cascade"


def _devices() -> list[Check]:
    free = f"{memory_at_hand(torch.device('cpu')) / 2**30:.1f} GiB free"
    checks = [Check("cpu", "ok", f"{torch.get_num_threads()} threads, {free}")]
    for index in range(torch.cuda.device_count()):
        look = partial(_gpu, torch.device("cuda", index))
        checks.append(_guarded(f"cuda:{index}", look, "restart the driver or the machine, or use --device cpu"))
    if len(checks) == 1:
        fix = "for fantasyid-5b: an NVIDIA GPU, its driver, and torch with CUDA"
        checks.append(Check("gpu", "optional", "torch sees no CUDA device; avatar-mini runs on the CPU", fix))
    return checks


def _gpu(device: torch.device) -> str:
    return f"{torch.cuda.get_device_name(device.index)}, {memory_at_hand(device) / 2**30:.1f} GiB free"


def _preset(name: str) -> Check:
    if name in MINIATURES:
        found = _model(MODELS / name)
        fix = "" if found.state == "ok" else "pip install --force-reinstall fantasyid-engine"
        return Check(f"model {name}", found.state, "in the package" if found.state == "ok" else found.fix, fix)
    folder = model_home() / name
    if folder.is_dir():
        return Check(f"model {name}", "ok", str(folder))
    fix = f"fantasyid-engine weights pull {name}"
    return Check(f"model {name}", "optional", "no weights here", fix)


def _model(folder: Path) -> Check:
    try:
        network = model_files(folder)
        files = [*network, *part_files(folder)]
        known = verify_files(folder, [*files, *face_files(folder)])
        describe(network)
        read_entries([path for path in files if path.suffix == ".safetensors"])
        read_schedule(folder)
        read_tokenizer(folder)
    except EngineError as error:
        return Check("model files", "missing", f"{folder} cannot render", str(error))
    return Check(
        "model files", "ok", f"{folder}: {len(files)} files, {'as in its manifest' if known else 'no manifest'}"
    )


def _faces(folder: Path) -> list[Check]:
    """The networks that read real faces, each optional, loaded as a render loads them; none for a model of avatars."""
    try:
        files = model_files(folder)
        if read_json_object(files.config, ConfigError).get("render", {}).get("face", "detect") != "detect":
            return []
        read_faces(folder, torch.device("cpu"), describe(files)[0].mesh.levels[0])
    except WeightsError as error:
        return [Check("face networks", "missing", f"{folder} cannot read faces", str(error))]
    source, checks = SOURCES["fantasyid-5b"], []
    for item in (*source.parts, *source.by_hand):
        name = f"face network {Path(item.place).stem}" if item.without else ""
        if name and (folder / item.place).is_file():
            checks.append(Check(name, "ok", "loads"))
        elif name:
            fix = item.command(folder) if isinstance(item, ByHand) else "fantasyid-engine weights pull fantasyid-5b"
            checks.append(Check(name, "optional", f"not there: {item.without}", fix))
    return checks


def _render() -> str:
    picture = (files("fantasyid_engine") / "face" / "avatar_example.png").read_bytes()
    request = VideoRequest(image=picture, prompt="a test", seed=0, num_inference_steps=1, num_frames=1)
    with tempfile.TemporaryDirectory() as folder, Engine.from_preset("avatar-mini", device="cpu") as engine:
        path = engine.generate(request).save(Path(folder) / "test.mp4")
        return f"photo to .mp4, {path.stat().st_size} bytes"
