"""The blender's C++ under ThreadSanitizer, and under AddressSanitizer with UndefinedBehaviorSanitizer."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "csrc" / f"{name}.cpp" for name in ("parallel", "pixel_rows", "seam_map", "tile_axis", "tile_blend")]
SOURCES += [ROOT / "csrc" / "tile_plan.cpp", Path(__file__).with_name("sanitizer_driver.cpp")]


def build(sources: list[Path], sanitizers: str, program: Path) -> subprocess.CompletedProcess[str]:
    flags = ["-std=c++17", "-g", "-O1", "-pthread", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"]
    command = ["c++", *flags, "-I", ROOT / "csrc", *sources, "-o", program]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("sanitizers", ["thread", "address,undefined"])
def test_the_blender_runs_clean(sanitizers: str, tmp_path: Path) -> None:
    if shutil.which("c++") is None:
        pytest.skip("needs a C++ compiler")
    probe = tmp_path / "probe.cpp"
    probe.write_text("int main() { return 0; }")
    if build([probe], sanitizers, tmp_path / "probe").returncode != 0:
        pytest.skip(f"the compiler has no {sanitizers} sanitizer")

    program = tmp_path / "driver"
    built = build(SOURCES, sanitizers, program)
    assert built.returncode == 0, built.stderr
    done = run(program)
    if "unexpected memory mapping" in done.stderr:  # more random addresses than the sanitizer can place
        if shutil.which("setarch") is None:
            pytest.skip("the sanitizer does not run with this kernel's random addresses, and there is no setarch")
        done = run("setarch", platform.machine(), "-R", program)
        if "unexpected memory mapping" in done.stderr or "setarch" in done.stderr:
            pytest.skip(f"the sanitizer does not run on this kernel: {done.stderr.strip()[:200]}")
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout == "all agree\n"
