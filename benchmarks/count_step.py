"""What one DiT layer and step costs at 5B, plain and on the kernels: bytes of element-wise work, FLOPs, operators.

    python benchmarks/count_step.py

Nothing is computed: the networks run on tensors that have shapes only. Counted is the difference between a DiT of two
layers and one of one, in bfloat16, at 49 frames of 480 x 720 with guidance (batch 2). An operator's bytes are those of
the tensors that it reads and writes, each once; operators that only look at memory another way cost nothing, matrix
products and attention count as FLOPs. So this is the traffic if no operator found anything in the cache.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

os.environ |= {"FANTASYID_KERNELS": "triton", "TRITON_INTERPRET": "1"}

import torch
from report import write_report
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.kernels import ops
from fantasyid_engine.kernels.id_injection import can_fold
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.fused import FusedDiT

PRODUCTS = (
    "linear",
    "mm",
    "addmm",
    "bmm",
    "matmul",
    "baddbmm",
    "_addmm_activation",
    "convolution",
    "scaled_dot_product",
    "id_attention",
)
Size = tuple[int, ...]
TEXT, FRAMES, HEIGHT, WIDTH, BATCH = 226, 13, 60, 90, 2


@dataclass(frozen=True)
class Cost:
    """Of one forward pass, or of a difference between two."""

    elementwise_bytes: int
    flops: int
    operators: int

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(a - b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


class Count(TorchDispatchMode):
    """Adds up operators and the bytes of those that are no product."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func.is_view or func.namespace not in ("aten", "fantasyid"):
            return made
        name = func._opname
        self.operators += 1
        if not any(part in name for part in PRODUCTS):
            read = {id(x): x for x in tensors((args, kwargs))}
            if name == "qk_norm_rope":
                self.bytes -= args[0].nbytes // 3  # v stays as it lies
            # Our own operators do not return what they change.
            written = [args[0]] if made is None and name.endswith("_") else list(tensors(made))
            self.bytes += sum(x.nbytes for x in (*read.values(), *written))
        elif name == "baddbmm_":
            self.bytes += args[0].nbytes  # a residual that is read
        return made


def tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in torch.utils._pytree.tree_leaves(tree) if isinstance(leaf, Tensor))


def id_attention_flops(
    x: Size,
    missing: Size,
    weight: Size,
    moved: Size,
    sums: Size,
    offsets: Size,
    id_kv: Size,
    heads: int,
    keys: int,
    _: float,
) -> int:
    """Of the projection, and of the attention where it is not folded into it."""
    rows, columns = x[0] * x[1], weight[1]
    return 2 * rows * x[2] * columns + (4 * rows * keys * columns if id_kv else 0)


def formulas() -> dict[Any, Callable[..., int]]:
    """FLOPs of operators that torch's counter does not know; it hands them shapes."""
    from fantasyid_engine.kernels import id_attention  # registers the op

    aten = torch.ops.aten
    assert id_attention.id_attention
    return {
        aten._addmm_activation: lambda bias, x, weight, **_: 2 * x[0] * x[1] * weight[1],
        aten.baddbmm_: lambda x, a, b, **_: 2 * a[0] * a[1] * a[2] * b[2],
        aten._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: (
            4 * q[0] * q[1] * q[2] * q[3] * k[2]
        ),
        torch.ops.fantasyid.id_attention: lambda *shapes, **_: id_attention_flops(*shapes),
    }


def cost(config: NetworkConfig, layers: int, backend: str) -> Cost:
    """Of one step."""
    dit_config = replace(config.dit, num_layers=layers, sample_frames=4 * FRAMES - 3)
    injection = dit_config.injection
    assert injection is not None
    with FakeTensorMode(), torch.inference_mode():
        torch.set_default_dtype(torch.bfloat16)
        dit: DiT | FusedDiT = DiT(dit_config)
        if backend != "eager":
            dit = FusedDiT(dit, folds=backend == "folded")
        latents = torch.empty(BATCH, FRAMES, dit_config.out_channels, HEIGHT, WIDTH)
        image = torch.empty(1, FRAMES, dit_config.image_channels, HEIGHT, WIDTH) if dit_config.image_channels else None
        text = torch.empty(BATCH, TEXT, dit_config.text_embed_dim)
        face = torch.empty(layers, 2, 1, injection.num_heads, config.num_id_tokens, injection.head_dim)
        embedded = dit.embed(text, FRAMES, HEIGHT, WIDTH, image)
        predict = dit.predictor(face, range(999, 0, -20))
        with FlopCounterMode(display=False, custom_mapping=formulas()) as flops, Count() as count:
            predict(embedded, latents, 999)
        torch.set_default_dtype(torch.float32)
    return Cost(count.bytes, flops.get_total_flops(), count.operators)


def gelu_as_epilogue(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """What `ops.linear_gelu` calls on a GPU; there is none, so it would not."""
    rows = torch.ops.aten._addmm_activation(bias, x.flatten(0, 1), weight.T, use_gelu=True)
    return rows.unflatten(0, x.shape[:2])


def main() -> None:
    ops.linear_gelu = gelu_as_epilogue
    rows = [
        "| form | keys | backend | element-wise traffic | FLOPs | operators | traffic | operators |",
        "|---|---|---|---|---|---|---|---|",
    ]
    results: dict[str, Any] = {}
    for name, backend in product(("fantasyid-5b", "fantasyid-5b-paper"), ("eager", "fused", "folded")):
        if backend == "folded" and not can_fold(NETWORKS[name].num_id_tokens):
            continue
        config = NETWORKS[name]
        made = cost(config, 2, backend) - cost(config, 1, backend)
        results.setdefault(name, {})[backend] = asdict(made)
        before = results[name]["eager"]
        rows.append(
            f"| {name} | {config.num_id_tokens} | {backend} | {made.elementwise_bytes / 1e9:.2f} GB | "
            f"{made.flops / 1e12:.2f} TFLOP | {made.operators} | "
            f"{before['elementwise_bytes'] / made.elementwise_bytes:.1f} x less | "
            f"{before['operators'] / made.operators:.1f} x fewer |"
        )
    write_report("count_step", results, "\n".join(rows), torch.device("cpu"))


if __name__ == "__main__":
    main()
