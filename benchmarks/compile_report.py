"""Every kernel compiled ahead of time for A100 and H100 at 5B shapes: registers, shared memory, spills, tensor cores.

    python benchmarks/compile_report.py             writes results/compile_report.{json,md}
    python benchmarks/compile_report.py --check     only says what does not hold, and exits 1

Needs no GPU. It holds when nothing spills, shared memory fits the chip, where there is a product the tensor cores make
it (mma on sm_80, wgmma on sm_90), and no tile is filled anew while a product may still read it.
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
from compiled_kernel import SHARED_LIMIT, Compiled, overwritten
from report import write_report
from torch import Tensor
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler import compile as compile_kernel

from fantasyid_engine.kernels import (
    gate_weight,
    id_attention,
    layer_aware,
    norm_modulate,
    qk_norm_rope,
    resample,
    spiral_conv,
)

NVIDIA = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
B, TEXT, GRID, D, EPS = 2, 226, (13, 30, 45), 3072, 1e-5
N = GRID[0] * GRID[1] * GRID[2]
T = TEXT + N


@dataclass(frozen=True)
class Launch:
    """One launch, as an op's launcher does it at 5B shapes; `dots` says that there is a product in it."""

    name: str
    kernel: Any
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    dots: bool


def launches() -> list[Launch]:
    """Every op called on tensors without contents, and what it would launch."""
    made: list[Launch] = []
    names: list[tuple[str, bool]] = []

    def keep(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
        name, dots = names[-1]
        made.append(Launch(name, kernel, arguments, options, dots))

    for module in (gate_weight, id_attention, layer_aware, norm_modulate, qk_norm_rope, resample, spiral_conv):
        module.launch = keep

    def run(name: str, op: Any, *arguments: Any, dots: bool = False) -> None:
        names.append((name, dots))
        op._init_fn(*arguments)  # the launcher itself; through torch a tensor without contents would find the fake

    h, row, mods = half(B, T, D), half(D), half(1, 6, D)
    run("norm_modulate", norm_modulate.norm_modulate, h, exact(D), row, row, mods, TEXT, EPS)
    run("gate_weight", gate_weight.gate_weight, half(D, 4 * D), row)
    norms, table = [half(64)] * 4, exact(N, 64)
    run("qk_norm_rope", qk_norm_rope.qk_norm_rope, half(B, T, 3 * D), 48, *norms, table, table, EPS)
    x, missing = h[:, TEXT:], exact(D)
    for keys, form in ((115, "released"), (314, "layer_aware")):
        weight, moved, id_kv = half(1, 2048, D), exact(1, 2048), half(2, 1, 16, keys, 128)
        norm = (moved, moved) if form == "released" else (None, None)
        name = f"id_attention, {keys} keys"
        run(name, id_attention.id_attention, x, missing, weight, moved, *norm, id_kv, 16, keys, EPS, dots=True)
    folded = (half(1, 1920, D), *[exact(1, 1920)] * 3)
    run("id_attention, 115 keys folded", id_attention.id_attention, x, missing, *folded, None, 16, 115, EPS, dots=True)
    taps = half(D, 3, 3)
    run("layer_aware", layer_aware.layer_aware_, h[:, TEXT:], half(B, N, D), taps, row, row, list(GRID), EPS)
    x, spiral = exact(1, 5023, 128), torch.empty(5023, 9, dtype=torch.int64, device="meta")
    run("spiral_conv", spiral_conv.spiral_conv, x, spiral, exact(128, 9 * 128), exact(128), True)
    run("resample", resample.resample, x, spiral[:, :3], exact(5023, 3))
    return made


def half(*shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.bfloat16, device="meta")


def exact(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def compiled(launch: Launch, target: int) -> Compiled:
    """As Triton's own launch would specialise it: ones are constants, multiples of 16 are known to be."""
    options = dict(launch.options)
    warps, stages = options.pop("num_warps"), options.pop("num_stages", 3)
    arguments = dict(zip(launch.kernel.arg_names, launch.arguments, strict=False))
    ones = {name: 1 for name, value in arguments.items() if isinstance(value, int) and value == 1}
    constants = options | ones
    signature = {name: "constexpr" if name in constants else kind(arguments[name]) for name in launch.kernel.arg_names}
    sixteens = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(launch.kernel.arg_names)
        if name not in constants and (isinstance(arguments[name], Tensor) or is_sixteens(arguments[name]))
    }
    made = compile_kernel(
        ASTSource(fn=launch.kernel, signature=signature, constexprs=constants, attrs=sixteens),
        target=GPUTarget("cuda", target, 32),
        options={"num_warps": warps, "num_stages": stages},
    )
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(made.asm["cubin"])
        file.flush()
        told = subprocess.run(
            [NVIDIA / "cuobjdump", "--dump-resource-usage", file.name], capture_output=True, text=True, check=True
        ).stdout
    usage = re.search(r"REG:(\d+) STACK:(\d+).*?LOCAL:(\d+)", told)
    if usage is None:
        raise SystemExit(f"cuobjdump says nothing of {launch.name}")
    registers, stack, local = map(int, usage.groups())
    ptx = made.asm["ptx"]
    return Compiled(
        launch.name,
        target,
        registers,
        made.metadata.shared,
        stack + local,
        ptx.count("mma.sync.aligned"),
        ptx.count("wgmma.mma_async"),
        overwritten(made.asm["ttgir"], stages),
    )


def kind(argument: Any) -> str:
    """An argument's type, as Triton writes it."""
    if isinstance(argument, Tensor):
        return {torch.bfloat16: "*bf16", torch.float32: "*fp32", torch.int64: "*i64"}[argument.dtype]
    return "fp32" if isinstance(argument, float) else "i32"


def is_sixteens(argument: Any) -> bool:
    return isinstance(argument, int) and argument % 16 == 0


def main() -> None:
    every = launches()
    made = [(compiled(launch, target), launch.dots) for launch in every for target in SHARED_LIMIT]
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
    print(f"{len(every)} kernels compiled for {', '.join(f'sm_{target}' for target in SHARED_LIMIT)}")


if __name__ == "__main__":
    main()
