"""Every kernel compiles for A100 and H100, without spills and with tensor cores where there is a product."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from fantasyid_engine.kernels.dispatch import HAS_TRITON

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KERNEL = runpy.run_path(str(BENCHMARKS / "compiled_kernel.py"))
LOOP = Path(__file__).with_name("loop_of_products.ttgir").read_text()
"""What Triton 3.7.1 makes of `id_attention`'s projection where nothing in the loop uses the product."""


@pytest.mark.skipif(not HAS_TRITON, reason="needs the package triton")
def test_compiles_for_gpus_that_are_not_there(tmp_path):
    # In a process of its own: this one interprets kernels.
    told = subprocess.run(
        [sys.executable, BENCHMARKS / "compile_report.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"TRITON_CACHE_DIR": str(tmp_path)},
    )
    assert told.returncode == 0, told.stderr
    assert "9 kernels compiled for sm_80, sm_90" in told.stdout


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param(("", ""), 1, id="as-captured"),
        pytest.param(("pendings = 1", "pendings = 0"), 0, id="none-in-flight"),
        pytest.param(("<2x128x64", "<3x128x64"), 0, id="a-buffer-more"),
        pytest.param(("<2x128x64", "<1x128x64"), 1, id="a-buffer-less"),
        pytest.param(("<3x64x128", "<2x64x128"), 2, id="both-tiles"),
        pytest.param(("isAsync = true", "async"), None, id="another-triton"),
        pytest.param(("ttg.memdesc_index", "ttg.memdesc_subview"), None, id="an-older-triton"),
    ],
)
def test_tiles_with_too_few_buffers(change, found):
    assert KERNEL["overwritten"](LOOP.replace(*change), stages=3) == found


@pytest.mark.parametrize(
    ("wgmma", "overwritten", "says"),
    [
        (4, 0, []),
        (4, 1, ["x for sm_90 fills 1 tiles anew while a product may read them"]),
        (
            4,
            None,
            ["x for sm_90 has products whose tiles are not found: mend `overwritten` for this Triton"],
        ),
        (0, None, ["x for sm_90 has no tensor-core instruction"]),
    ],
)
def test_what_is_a_fault(wgmma, overwritten, says):
    made = KERNEL["Compiled"]("x", 90, 64, 1024, 0, 0, wgmma, overwritten)
    assert made.faults(dots=True) == says
