"""What every benchmark writes: JSON with commit, machine and versions, and a Markdown table."""

import ctypes
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from fantasyid_engine.runtime.machine import machine, versions

RESULTS = Path(__file__).parent / "results"
M_MMAP_THRESHOLD = -3


def medians_s(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each way; they take turns, so that a slow moment of the machine hits all."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = perf_counter()
            way()
            seconds[name].append(perf_counter() - begin)
    return {name: median(values) for name, values in seconds.items()}


def peak_bytes(way: Callable[[], object]) -> int:
    """How far the process's resident memory rises above where it stands, while `way` runs (Linux, glibc)."""
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, 2**18)  # tensors are given back when they are freed
    way()  # what libraries allocate once is not counted
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # sets the peak back to what is in use now
    before = _status_bytes("VmRSS")
    way()
    return max(0, _status_bytes("VmHWM") - before)


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def write_report(name: str, results: dict[str, Any], table: str, device: torch.device) -> None:
    """Writes `results/NAME.json` and `results/NAME.md`, and prints the table."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    about = {"commit": commit or "unknown", "machine": machine(device), "versions": versions()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(about | {"results": results}, indent=1) + "\n")
    cpu, threads = about["machine"]["cpu"], about["machine"]["threads"]
    where = about["machine"].get("gpu") or f"{cpu}, {threads} threads"
    head = f"{name}: {where}; torch {torch.__version__}, diffusers {about['versions']['diffusers']}"
    (RESULTS / f"{name}.md").write_text(f"{head}\n\n{table}\n")
    print(f"{head}\n\n{table}")
