"""What a result came from: versions of software, and the machine."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fantasyid_engine import __version__


def versions() -> dict[str, str]:
    """Versions of what frames depend on."""
    names = ("torch", "diffusers", "transformers", "numpy", "pillow", "opencv-python-headless", "av")
    return {"fantasyid-engine": __version__, "python": platform.python_version()} | {n: version(n) for n in names}


def machine(device: torch.device) -> dict[str, Any]:
    """What it ran on; nothing that names the machine itself."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found


def _cpu_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
