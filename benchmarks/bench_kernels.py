"""The kernels at 5B shapes on a GPU, against torch eager and torch.compile in the same run.

    python benchmarks/bench_kernels.py

Medians by CUDA events, the ways taking turns. Ceilings are measured in the same run: a copy, and a square product. An
op whose error against float64 (float32 for products) is more than twice eager's gets no figure. The floor of a product
is its FLOPs at the product's rate, that of everything else its bytes at the copy's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from report import write_report
from torch import Tensor
from torch.utils._pytree import tree_leaves

from fantasyid_engine.kernels import ops, reference
from fantasyid_engine.kernels.id_injection import LayerAware, Missing, columns_of, fold, id_injection, sublayer

B, L, GRID, D, HEADS, HEAD, EPS = 2, 226, (13, 30, 45), 3072, 48, 64, 1e-5
N = GRID[0] * GRID[1] * GRID[2]
T = L + N
ID_HEADS, ID_HEAD, KEYS = 16, 128, {"released": 115, "layer_aware": 314}
VERTICES, WIDTH, SPIRAL = 5023, 128, 9
ROUNDS = 30
CYCLES = 2_000_000


@dataclass(frozen=True)
class Op:
    """What is measured: the kernels' way, eager's, and what neither can be faster than.

    `checked` is the kernels' way on inputs that are new each time, where `ours` changes them.
    """

    name: str
    ours: Callable[[], Any]
    eager: Callable[[], Any]
    exact: Callable[[], Any]
    checked: Callable[[], Any] | None = None
    bytes: int = 0
    flops: int = 0


def drawn(*shape: int, scale: float = 1.0, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return (scale * torch.randn(*shape, device="cuda")).to(dtype)


def medians_ms(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """By CUDA events; the ways take turns."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for round_ in range(ROUNDS + 5):
        for name, way in ways.items():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(CYCLES)  # the launches of `way` are ready before it starts
            begin.record()
            way()
            end.record()
            end.synchronize()
            if round_ >= 5:
                taken[name].append(begin.elapsed_time(end))
    return {name: median(values) for name, values in taken.items()}


def ceilings() -> dict[str, float]:
    """Bytes a second of a copy (read and written), FLOPs a second of a product."""
    x, made = drawn(2**29), torch.empty(2**29, device="cuda", dtype=torch.bfloat16)
    a, b = drawn(8192, 8192), drawn(8192, 8192)
    ms = medians_ms({"copy": lambda: made.copy_(x), "product": lambda: a @ b})
    return {"bytes_s": 2 * x.nbytes / ms["copy"] * 1e3, "flops_s": 2 * 8192**3 / ms["product"] * 1e3}


def elementwise() -> list[Op]:
    h = drawn(B, T, D)
    weight, bias, mods = drawn(D), drawn(D), drawn(1, 6, D)
    missing = drawn(D, dtype=torch.float32)
    modulated = (missing, weight, bias, mods)
    one = h.nbytes
    qkv = drawn(B, T, 3 * D)
    norms = [drawn(HEAD) for _ in range(4)]
    cos, sin = torch.rand(N, HEAD, device="cuda"), torch.rand(N, HEAD, device="cuda")
    up, up_bias = drawn(4 * D, D, scale=D**-0.5), drawn(4 * D)
    exact = torch.float32
    x, values = drawn(1, VERTICES, WIDTH, dtype=exact), drawn(VERTICES, 3, dtype=exact)
    spiral = torch.randint(VERTICES, (VERTICES, SPIRAL), device="cuda")
    weights, biases = drawn(WIDTH, SPIRAL * WIDTH, scale=0.03, dtype=exact), drawn(WIDTH, dtype=exact)
    return [
        Op(
            "norm_modulate",
            lambda: ops.norm_modulate(h, *modulated, L, EPS),
            lambda: reference.norm_modulate(h, *modulated, L, EPS),
            lambda: reference.norm_modulate(h.double(), *(x.double() for x in modulated), L, EPS),
            bytes=2 * one,
        ),
        Op(
            "gate_weight",
            lambda: ops.gate_weight(up, up_bias),
            lambda: reference.gate_weight(up, up_bias),
            lambda: reference.gate_weight(up.double(), up_bias.double()),
            bytes=2 * up.nbytes,
        ),
        Op(
            "qk_norm_rope",
            lambda: ops.qk_norm_rope(qkv, HEADS, (norms[0], norms[1]), (norms[2], norms[3]), cos, sin, EPS),
            lambda: reference.qk_norm_rope(qkv, HEADS, *norms, cos, sin, EPS),
            lambda: reference.qk_norm_rope(
                qkv.double(), HEADS, *(x.double() for x in norms), cos.double(), sin.double(), EPS
            ),
            bytes=4 * one,
        ),
        Op(
            "linear_gelu",
            lambda: ops.linear_gelu(h, up, up_bias),
            lambda: reference.linear_gelu(h, up, up_bias),
            lambda: reference.linear_gelu(h.float(), up.float(), up_bias.float()),
            flops=2 * B * T * D * 4 * D,
        ),
        Op(
            "spiral_conv",
            lambda: ops.spiral_conv(x, spiral, weights, biases, elu=True),
            lambda: reference.spiral_conv(x, spiral, weights, biases, True),
            lambda: reference.spiral_conv(x.double(), spiral, weights.double(), biases.double(), True),
            bytes=2 * x.nbytes,
        ),
        Op(
            "resample",
            lambda: ops.resample(x, spiral[:, :3], values),
            lambda: reference.resample(x, spiral[:, :3], values),
            lambda: reference.resample(x.double(), spiral[:, :3], values.double()),
            bytes=2 * x.nbytes,
        ),
    ]


def gated_linear(channels: int) -> Op:
    """A product onto the residual stream, its gated weights made anew; eager reads and writes the stream apart."""
    h, x, target = drawn(B, T, D), drawn(B, T, channels), drawn(B, T, D)
    weight, bias, mods = drawn(D, channels, scale=channels**-0.5), drawn(D), drawn(1, 6, D)

    def eager(dtype: torch.dtype) -> Tensor:
        y, a, w, b, m = (part.to(dtype) for part in (h, x, weight, bias, mods))
        text = y[:, :L] + m[:, 5, None] * F.linear(a[:, :L], w, b)
        return torch.cat([text, y[:, L:] + m[:, 2, None] * F.linear(a[:, L:], w)], dim=1)

    def fresh() -> Tensor:
        made = h.clone()
        ops.gated_linear_(made, x, weight, bias, mods, L)
        return made

    return Op(
        f"gated_linear_, {channels} channels",
        lambda: ops.gated_linear_(target, x, weight, bias, mods, L),
        lambda: eager(h.dtype),
        lambda: eager(torch.float32),
        checked=fresh,
        flops=2 * B * T * channels * D,
    )


def injection(form: str, *, folded: bool) -> Op:
    """The whole sublayer; eager is what its authors run, but for keys and values, which they make anew each step."""
    inner, keys = ID_HEADS * ID_HEAD, KEYS[form]
    x, id_kv = drawn(B, N, D), drawn(2, 1, ID_HEADS, keys, ID_HEAD)
    queries, out = drawn(inner, D, scale=D**-0.5), drawn(D, inner, scale=inner**-0.5)
    norm, taps = (drawn(D), drawn(D)), drawn(D, 3, 3, scale=1 / 3)
    released = form == "released"
    rest = None if released else LayerAware(taps, *norm, EPS)
    layer = sublayer(ID_HEADS, queries, out, norm if released else None, rest)
    face = fold(layer, id_kv) if folded else id_kv
    channels = drawn(D, dtype=torch.float32)
    missing = Missing(channels, columns_of(channels[None], layer, face)[0])
    target = x.clone()

    def eager(dtype: torch.dtype) -> Tensor:
        y, q, o, w, b, t, kv = (part.to(dtype) for part in (x, queries, out, *norm, taps, id_kv))
        whole = (y + channels).to(dtype)
        normed = F.layer_norm(whole, (D,), w, b, EPS) if released else whole
        m = reference.attend(normed @ q.T, kv) @ o.T
        return y + m if released else reference.layer_aware(y, m, t, w, b, GRID, EPS)

    def fresh() -> Tensor:
        made = x.clone()
        id_injection(made, missing, layer, face, GRID, EPS)
        return made

    return Op(
        f"id_injection, {form}{', folded' if folded else ''}",
        lambda: id_injection(target, missing, layer, face, GRID, EPS),
        lambda: eager(x.dtype),
        lambda: eager(torch.float32),
        checked=fresh,
        flops=4 * B * N * inner * (D + keys),
    )


def check(op: Op) -> None:
    """No figure for an op that is wrong."""
    for ours, plain, right in zip(
        *(tree_leaves(way()) for way in (op.checked or op.ours, op.eager, op.exact)), strict=True
    ):
        error, allowed = ((made.double() - right.double()).square().mean().sqrt() for made in (ours, plain))
        if not error <= 2 * allowed:
            raise SystemExit(f"{op.name}: error {error:.3g}, eager's is {allowed:.3g}: no figures")


def main() -> None:
    if not torch.cuda.is_available():
        print("bench_kernels: no GPU here, no figures; benchmarks/compile_report.py and count_step.py need none")
        return
    torch.manual_seed(0)
    tops = ceilings()
    every = [
        *elementwise(),
        gated_linear(D),
        gated_linear(4 * D),
        injection("released", folded=False),
        injection("released", folded=True),
        injection("layer_aware", folded=False),
    ]
    for op in every:
        check(op)
    rows = ["| op | ours | eager | compiled | against eager | floor | ours / floor |", "|---|---|---|---|---|---|---|"]
    results: dict[str, Any] = {"ceilings": tops, "ops": {}}
    for op in every:
        ms = medians_ms({"ours": op.ours, "eager": op.eager, "compiled": torch.compile(op.eager)})
        floor = 1e3 * max(op.bytes / tops["bytes_s"], op.flops / tops["flops_s"])
        results["ops"][op.name] = {"median_ms": ms, "floor_ms": floor, "bytes": op.bytes, "flops": op.flops}
        rows.append(
            f"| {op.name} | {ms['ours']:.3f} ms | {ms['eager']:.3f} ms | {ms['compiled']:.3f} ms | "
            f"{ms['eager'] / ms['ours']:.2f} x | {floor:.3f} ms | {ms['ours'] / floor:.2f} |"
        )
    rows += ["", f"Ceilings: copy {tops['bytes_s'] / 1e12:.2f} TB/s, product {tops['flops_s'] / 1e12:.0f} TFLOP/s."]
    write_report("bench_kernels", results, "\n".join(rows), torch.device("cuda"))


if __name__ == "__main__":
    main()
