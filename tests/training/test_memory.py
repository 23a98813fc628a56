"""The formula of memory against what training really holds; started as a program, one process of two under FSDP2."""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal
from weakref import WeakSet

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.embedding import rotary_tables
from fantasyid_engine.models.network import Network
from fantasyid_engine.training.learner import Learner, recomputing
from fantasyid_engine.training.memory import (
    Casts,
    Memory,
    activation_bytes,
    block_bytes,
    stage_memory,
    stage_weights,
    unit_bytes,
)
from fantasyid_engine.training.parallel import open_accelerator
from fantasyid_engine.training.recipe import DiffusionStage, OptimiserConfig
from fantasyid_engine.training.tasks.diffusion import DiffusionTask
from fantasyid_engine.training.tasks.task import Batch
from tests.small import PAPER, hierarchy
from tests.whole_model import paper_model

ROOT = Path(__file__).parents[2]
TORCHRUN = Path(sys.executable).with_name("torchrun")

WITHIN = 0.03
"""Of what autograd keeps; the formula leaves out the conditioner before its keys and values, and per-sample vectors."""

FULL = NETWORKS["fantasyid-5b-paper"]
LATENTS, VIDEO = (3, 40, 40), 3 * 20 * 20
SMALL = replace(
    PAPER,
    conditioner=replace(PAPER.conditioner, abstractor=replace(PAPER.conditioner.abstractor, depth=1)),
    dit=replace(
        PAPER.dit,
        num_attention_heads=3,
        attention_head_dim=32,
        num_layers=4,
        time_embed_dim=33,
        max_text_seq_length=20,
        injection=replace(PAPER.dit.injection, num_heads=2, head_dim=16, id_dim=32),
    ),
)
"""Odd numbers of rows, which two processes cannot share evenly, and a DiT that outweighs the conditioner."""

FACES = ("conditioner.*", "dit.injections.*")
ALL = ("conditioner.*", "dit.*")
BFLOAT16 = {"precision": torch.bfloat16, "frozen": torch.bfloat16}


def stage(**changes: Any) -> DiffusionStage:
    values = {"name": "identity", "steps": 5, "batch_size": 2, "micro_batch": 2} | changes
    return DiffusionStage(**values, optimiser=OptimiserConfig(warmup_steps=0))


def task(config: NetworkConfig, wanted: DiffusionStage) -> DiffusionTask:
    network = Network(config, hierarchy()).eval().requires_grad_(False)
    return DiffusionTask(replace(paper_model(), network=network), wanted, views=1, cached_text=True)


def batch(config: NetworkConfig, count: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    dit, (frames, height, width) = config.dit, LATENTS
    size = count, frames, dit.out_channels, height, width
    return {
        "latents": torch.randn(size, generator=generator),
        "noise": torch.randn(size, generator=generator),
        "t": torch.randint(1000, (count,), generator=generator),
        "text": torch.randn(count, dit.max_text_seq_length, dit.text_embed_dim, generator=generator),
        "view": torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8),
        "vertices": hierarchy().template.expand(count, -1, -1).clone(),
        "keep_face": torch.ones(count, dtype=torch.bool),
    }


class Kept:
    """What autograd holds: handles in place of saved tensors, dead ones forgotten."""

    class Handle:
        def __init__(self, tensor: Tensor) -> None:
            self.tensor = tensor

    def __init__(self) -> None:
        self._handles: WeakSet[Kept.Handle] = WeakSet()

    def _pack(self, tensor: Tensor) -> "Kept.Handle":
        handle = Kept.Handle(tensor)
        self._handles.add(handle)
        return handle

    @contextmanager
    def watching(self) -> Iterator[None]:
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda handle: handle.tensor):
            yield

    def size(self, module: nn.Module) -> int:
        """Bytes of it, each storage once, without the module's own tensors."""
        own = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()] if not is_shared(t)}
        found = [handle.tensor.untyped_storage() for handle in self._handles]
        return sum({s.data_ptr(): s.nbytes() for s in found if s.data_ptr() not in own}.values())


def is_shared(tensor: Tensor) -> bool:
    return isinstance(tensor, DTensor)


@pytest.fixture
def norms_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """What autocast does on a GPU and not on a CPU."""

    def in_float32(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def cast(value: object) -> object:
            return value.float() if isinstance(value, Tensor) else value

        return lambda *args, **named: function(*map(cast, args), **{name: cast(value) for name, value in named.items()})

    for name in ("layer_norm", "group_norm", "mse_loss"):
        monkeypatch.setattr(F, name, in_float32(getattr(F, name)))


def update_keeping(made: Learner, one: Batch) -> int:
    """Bytes that autograd holds between the forward and the backward pass of an update."""
    kept, sizes = Kept(), []
    hook = made.module.register_forward_hook(lambda *_: sizes.append(kept.size(made.task)))
    with kept.watching():
        made.update([one])
    hook.remove()
    return sizes[0]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["keeping", "recomputing"])
@pytest.mark.parametrize(
    ("precision", "device", "trainable"),
    [
        pytest.param(torch.bfloat16, "cpu", FACES, id="bfloat16"),
        pytest.param(torch.bfloat16, "cuda", FACES, id="bfloat16-as-on-a-gpu"),
        pytest.param(torch.bfloat16, "cuda", ALL, id="bfloat16-as-on-a-gpu-all"),
        pytest.param(torch.float32, "cpu", FACES, id="float32"),
        pytest.param(torch.float32, "cpu", ALL, id="float32-all"),
    ],
)
def test_activations(
    precision: torch.dtype,
    device: Literal["cuda", "cpu"],
    trainable: tuple[str, ...],
    checkpointing: bool,
    request: pytest.FixtureRequest,
) -> None:
    """Of one process, with the copies of float32 weights that autocast makes; before a block is computed again."""
    wanted = stage(trainable=trainable, checkpointing=checkpointing)
    made = Learner(task(SMALL, wanted), wanted, open_accelerator(cpu=True), precision=precision, frozen=precision)
    if device == "cuda":
        request.getfixturevalue("norms_in_float32")
    with recomputing(made.task) if checkpointing else nullcontext():
        found = update_keeping(made, batch(SMALL, 2))
    expected = stage_memory(
        *(SMALL, wanted), gpus=1, parallel="ddp", precision=precision, frozen=precision, device=device, latents=LATENTS
    )
    again = 0
    if checkpointing:
        again = 2 * block_bytes(SMALL.dit, VIDEO, 20, Casts.of(precision, device), trained=trainable is ALL)
    print('RATIO', found / (expected.activations + expected.working - again))
    assert found == pytest.approx(expected.activations + expected.working - again, rel=WITHIN)


@pytest.mark.parametrize("trained", [False, True], ids=["frozen", "trained"])
@pytest.mark.parametrize(
    ("dtype", "device"), [(torch.bfloat16, "cpu"), (torch.bfloat16, "cuda"), (torch.float32, "cpu")]
)
def test_inside_a_block(
    dtype: torch.dtype, device: Literal["cuda", "cpu"], trained: bool, request: pytest.FixtureRequest
) -> None:
    """What is held at once while a block is computed again."""
    dit = FULL.dit
    dit = replace(dit, num_attention_heads=4, time_embed_dim=8)
    block = Block(dit).to(dtype).requires_grad_(trained)
    if device == "cuda":
        request.getfixturevalue("norms_in_float32")
    x = torch.randn(2, 192, dit.dim, requires_grad=True)
    c, emb = torch.randn(2, 30, dit.dim).to(dtype), torch.randn(2, 8, requires_grad=trained)
    cos, sin = rotary_tables((3, 8, 8), (8, 8), 64)
    kept = Kept()
    with kept.watching(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        # The norms' dtype is that of x between blocks.
        made = block(x.to(dtype if device == "cpu" else torch.float32), c * 1, emb.to(dtype), cos, sin)
    found = kept.size(block) - cos.nbytes - sin.nbytes
    assert found == pytest.approx(2 * block_bytes(dit, 192, 30, Casts.of(dtype, device), trained=trained), rel=0.01)
    assert made[0].requires_grad


def local(tensor: Tensor) -> Tensor:
    """This process's part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shard(out: Path) -> None:
    """One of two processes: two micro-batches under FSDP2, and what they held."""
    accelerator = open_accelerator(cpu=True)
    wanted = stage(trainable=ALL, batch_size=4, micro_batch=1, checkpointing=True)
    made = Learner(task(SMALL, wanted), wanted, accelerator, parallel="fsdp", **BFLOAT16)
    held: dict[str, Any] = {"alive": [], "gathered": {}}

    def gathered(name: str) -> Callable[..., None]:
        def look(*_: object) -> None:
            found = [p for p in made.task.parameters() if not is_shared(p)]
            held["gathered"][name] = sum(p.untyped_storage().nbytes() for p in found)

        return look

    def before_step(optimiser: Optimizer, *_: object) -> None:
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        held["gradients"] = sum(local(g).nbytes for g in gradients)

    for name, module in made.task.named_modules():
        if name in ("dit.blocks.1", "tower.blocks.0", "conditioner.vertex_net"):
            module.register_forward_pre_hook(gathered(name))
    made.module.register_forward_pre_hook(lambda *_: held["alive"].append(alive()))
    register_optimizer_step_pre_hook(before_step)
    made.update([batch(SMALL, 1), batch(SMALL, 1, seed=1)])

    held["parameters"] = sum(local(p).untyped_storage().nbytes() for p in made.task.parameters())
    state = [v for values in made._optimiser.state.values() for v in values.values() if v.ndim]
    held["moments"] = sum(local(v).nbytes for v in state)
    assert made.average is not None
    held["average"] = sum(local(v).nbytes for v in made.average._average.values())
    (out / f"{accelerator.process_index}.json").write_text(json.dumps(held))
    accelerator.end_training()


def alive() -> int:
    """Bytes of all tensors, each storage once."""
    gc.collect()
    found = [local(o) for o in gc.get_objects() if isinstance(o, Tensor) and not o.is_meta]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}.values())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("shards")
    done = subprocess.run(
        [TORCHRUN, "--nproc-per-node", "2", __file__, out],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_shards(shards: list[dict[str, Any]]) -> None:
    wanted = stage(trainable=ALL, batch_size=4, micro_batch=1, checkpointing=True)
    expected = stage_memory(SMALL, wanted, gpus=2, device="cpu", latents=LATENTS)
    print(shards, expected)


if __name__ == "__main__":
    shard(Path(sys.argv[1]))
