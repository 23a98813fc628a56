"""Every kernel compiled ahead of time for A100 and H100 at 5B shapes: registers, shared memory, spills, tensor cores.

    python benchmarks/compile_report.py             writes results/compile_report.{json,md}
    python benchmarks/compile_report.py --check     only says what does not hold, and exits 1

Needs no GPU. It holds when nothing spills, shared memory fits the chip, and where there is a product the tensor cores
make it: mma on sm_80, wgmma on sm_90.
"""

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.pop("TRITON_INTERPRET", None)  # interpreted functions cannot be compiled

import torch
import triton
from report import write_report
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_kernel

from fantasyid_engine.kernels import id_attention, layer_aware, norm_modulate, qk_norm_rope, resample, spiral_conv

SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}
NVIDIA = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
HALF, EXACT, WHOLE, NUMBER = "*bf16", "*fp32", "*i64", "i32"


@dataclass(frozen=True)
class Case:
    """One kernel at one shape.

    `pointers` are its tensors by the ends of their names, everything else `HALF`; `aligned` are the integers that are
    multiples of 16 at this shape, as a launch would find them.
    """

    name: str
    kernel: Any
    constants: dict[str, Any]
    num_warps: int
    dots: bool = False
    pointers: tuple[tuple[str, str], ...] = ()
    aligned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Compiled:
    """What came out."""

    name: str
    target: int
    registers: int
    shared_bytes: int
    spilled_bytes: int
    mma: int
    wgmma: int

    def faults(self, dots: bool) -> list[str]:
        """What does not hold."""
        found = []
        if self.spilled_bytes:
            found.append(f"spills {self.spilled_bytes} bytes")
        if self.shared_bytes > SHARED_LIMIT[self.target]:
            found.append(f"takes {self.shared_bytes} bytes of shared memory, of {SHARED_LIMIT[self.target]}")
        if dots and not (self.wgmma if self.target == 90 else self.mma):
            found.append("has no tensor-core instruction")
        return [f"{self.name} for sm_{self.target} {fault}" for fault in found]


ROW = ("dim", "h_batch", "h_token", "d_batch", "d_token", "gates_batch", "modulation_batch")
ATTENTION = (
    *("dim", "columns", "x_batch", "x_token", "stats_batch", "weight_batch", "sums_batch", "kv_batch", "kv_head"),
    *("out_batch", "out_token", "heads"),
)
FLOATS = (("stats_ptr", EXACT), ("sums_ptr", EXACT), ("offsets_ptr", EXACT))
TABLES = (("cos_ptr", EXACT), ("sin_ptr", EXACT))
MESH = (("index_ptr", WHOLE), *((f"{name}_ptr", EXACT) for name in ("x", "weight", "bias", "value", "y")))
TILE = {"PRECISION": "tf32", "BLOCK_M": 128, "BLOCK_C": 128, "BLOCK_D": 64}

CASES = (
    Case(
        "norm_modulate",
        norm_modulate._kernel,
        {"RESIDUAL": False, "STATS": False, "NORM": True, "BLOCK": 4096},
        8,
        aligned=ROW,
    ),
    Case(
        "gate_residual",
        norm_modulate._kernel,
        {"RESIDUAL": True, "STATS": True, "NORM": False, "BLOCK": 4096},
        8,
        pointers=FLOATS,
        aligned=ROW,
    ),
    Case(
        "gate_residual_norm_modulate",
        norm_modulate._kernel,
        {"RESIDUAL": True, "STATS": False, "NORM": True, "BLOCK": 4096},
        8,
        aligned=ROW,
    ),
    Case(
        "qk_norm_rope",
        qk_norm_rope._kernel,
        {"ROTARY": True, "HEADS": 64, "PAIRS": 32},
        8,
        pointers=TABLES,
        aligned=("dim", "heads", "qkv_batch", "qkv_token"),
    ),
    Case(
        "id_attention, 115 keys",
        id_attention._attention,
        {"NORM": True, "FOLDED": False, "ONE_TURN": True, "BLOCK_K": 128, **TILE},
        8,
        dots=True,
        pointers=FLOATS,
        aligned=ATTENTION,
    ),
    Case(
        "id_attention, 314 keys",
        id_attention._attention,
        {"NORM": False, "FOLDED": False, "ONE_TURN": False, "BLOCK_K": id_attention.TURN, **TILE},
        8,
        dots=True,
        pointers=FLOATS,
        aligned=ATTENTION,
    ),
    Case(
        "id_attention, 115 keys folded",
        id_attention._attention,
        {"NORM": True, "FOLDED": True, "ONE_TURN": True, "BLOCK_K": 128, **TILE},
        8,
        dots=True,
        pointers=FLOATS,
        # A head has 120 columns, a multiple of 8.
        aligned=tuple(name for name in ATTENTION if name != "columns"),
    ),
    Case(
        "layer_aware",
        layer_aware._kernel,
        {"SEGMENT": layer_aware.SEGMENT, "BLOCK": 4096},
        16,
        aligned=("dim", "x_batch", "x_token", "m_batch", "m_token"),
    ),
    Case(
        "spiral_conv",
        spiral_conv._kernel,
        {"SPIRAL": 9, "ELU": True, "PRECISION": "ieee", "BLOCK_V": 32, "BLOCK_E": 64, "BLOCK_C": 32},
        4,
        pointers=MESH,
        aligned=("channels", "outs"),
    ),
    Case(
        "resample",
        resample._kernel,
        {"TERMS": 3, "BLOCK_W": 32, "BLOCK_C": 128},
        4,
        pointers=MESH,
        aligned=("channels",),
    ),
)


def compiled(case: Case, target: int) -> Compiled:
    names = case.kernel.arg_names
    ends = dict(case.pointers)
    signature = {
        name: "constexpr"
        if name in case.constants
        else ends.get(name, HALF)
        if name.endswith("_ptr")
        else "fp32"
        if name in ("eps", "scale")
        else NUMBER
        for name in names
    }
    sixteens = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if name.endswith("_ptr") or name in case.aligned
    }
    source = ASTSource(fn=case.kernel, signature=signature, constexprs=case.constants, attrs=sixteens)
    made = compile_kernel(
        source, target=GPUTarget("cuda", target, 32), options={"num_warps": case.num_warps, "num_stages": 3}
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [NVIDIA / "cuobjdump", "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    usage = re.search(r"REG:(\d+) STACK:(\d+).*?LOCAL:(\d+)", told)
    if usage is None:
        raise SystemExit(f"cuobjdump says nothing of {case.name}")
    registers, stack, local = map(int, usage.groups())
    ptx = made.asm["ptx"]
    return Compiled(
        case.name,
        target,
        registers,
        made.metadata.shared,
        stack + local,
        ptx.count("mma.sync.aligned"),
        ptx.count("wgmma.mma_async"),
    )


def main() -> None:
    made = [(compiled(case, target), case.dots) for case in CASES for target in SHARED_LIMIT]
    faults = [fault for one, dots in made for fault in one.faults(dots)]
    if "--check" not in sys.argv:
        rows = ["| kernel | target | registers | shared memory | spills | tensor cores |", "|---|---|---|---|---|---|"]
        for one, dots in made:
            cores = f"{one.wgmma} wgmma" if one.target == 90 else f"{one.mma} mma"
            rows.append(
                f"| {one.name} | sm_{one.target} | {one.registers} | {one.shared_bytes / 1024:.1f} KB | "
                f"{one.spilled_bytes} | {cores if dots else '-'} |"
            )
        results = {"triton": triton.__version__, "kernels": [asdict(one) for one, _ in made]}
        write_report("compile_report", results, "\n".join(rows), torch.device("cpu"))
    if faults:
        raise SystemExit("\n".join(faults))
    print(f"{len(CASES)} kernels compiled for {', '.join(f'sm_{target}' for target in SHARED_LIMIT)}")


if __name__ == "__main__":
    main()
