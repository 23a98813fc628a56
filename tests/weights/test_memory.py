"""What loading costs in memory, measured in a process of its own."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.network import Network
from tests.small import hierarchy, split_into_shards, write_released_folder

PEAK = """
import sys, torch
from pathlib import Path
from fantasyid_engine.weights.folder import describe, load_hierarchy, load_network, model_files
from fantasyid_engine.weights.load import build_on_meta
folder = Path(sys.argv[1])
files = model_files(folder)
config = describe(files)[0]
build_on_meta(config, load_hierarchy(files.mesh, config.mesh), folder)
def memory(name):
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[name].split()[0]) * 1024
before = memory("VmRSS")
network = load_network(folder, dtype=getattr(torch, sys.argv[2]))
peak = memory("VmHWM")
size = sum(t.nbytes for t in network.state_dict().values())
print(peak - before, size)
"""


@pytest.fixture(scope="module")
def full_width(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers at the released widths, bfloat16, three shards; about 1.4 GB."""
    folder = tmp_path_factory.mktemp("full") / "model"
    config = NetworkConfig()
    config = replace(config, dit=replace(config.dit, num_layers=2, sample_frames=9, sample_height=16, sample_width=16))
    made = Network(config, hierarchy(config.mesh)).bfloat16()
    write_released_folder(made, folder)
    split_into_shards(folder, index=True)
    return folder


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_peak_memory_of_loading(full_width: Path, dtype: str) -> None:
    """A sharded, full-width, two-layer checkpoint takes less than 1.2 times its size while it loads."""
    command = [sys.executable, "-c", PEAK, str(full_width), dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak, size = map(int, done.stdout.split())
    assert size > 1e9
    print(f"{dtype}: peak {peak / 2**20:.0f} MiB for {size / 2**20:.0f} MiB of weights: {peak / size:.3f}")
    assert peak < 1.2 * size
