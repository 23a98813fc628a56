"""The formula of memory against what training really holds; started as a program, one process of two under FSDP2."""

import gc
import json
import math
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
    Weight,
    block_bytes,
    injection_bytes,
    stage_memory,
    stage_weights,
    table,
    unit_bytes,
)
from fantasyid_engine.training.optimiser import trainable
from fantasyid_engine.training.parallel import open_accelerator
from fantasyid_engine.training.recipe import DiffusionStage, OptimiserConfig
from fantasyid_engine.training.tasks.diffusion import DiffusionTask
from fantasyid_engine.training.tasks.task import Batch
from tests.small import ABLATIONS, PAPER, hierarchy
from tests.whole_model import paper_model

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "training" / "memory.md"
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
        tensors = [*module.parameters(), *module.buffers()]
        own = {t.untyped_storage().data_ptr() for t in tensors if not isinstance(t, DTensor)}
        found = [handle.tensor.untyped_storage() for handle in self._handles]
        return sum({s.data_ptr(): s.nbytes() for s in found if s.data_ptr() not in own}.values())


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


def copies_in_blocks(wanted: DiffusionStage) -> int:
    """Bytes of bfloat16 copies of blocks' matrices: recomputed, they are autocast's and not autograd's."""
    weights = stage_weights(SMALL, wanted, torch.bfloat16, torch.bfloat16)
    inside = [w for w in weights if w.trained and w.unit.startswith("dit.blocks.") and len(w.shape) > 1]
    return sum(2 * math.prod(w.shape) for w in inside)


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
        again += copies_in_blocks(wanted) if precision == torch.bfloat16 else 0
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
    c, emb = torch.randn(2, 30, dit.dim, requires_grad=True), torch.randn(2, 8, requires_grad=trained)
    cos, sin = rotary_tables((3, 8, 8), (8, 8), 64)
    kept = Kept()
    with kept.watching(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        stream = dtype if device == "cpu" else torch.float32
        made = block(1 * x.to(stream), 1 * c.to(dtype), emb.to(dtype), cos, sin)
    found = kept.size(block) - cos.nbytes - sin.nbytes
    assert all(part.requires_grad for part in made)
    assert found == pytest.approx(2 * block_bytes(dit, 192, 30, Casts.of(dtype, device), trained=trained), rel=0.01)


def local(tensor: Tensor) -> Tensor:
    """This process's part."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole_float32(shapes: set[tuple[int, ...]]) -> int:
    """Bytes of float32 tensors of these shapes, wherever they are, each storage once."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if isinstance(o, Tensor) and not isinstance(o, DTensor)]
    tensors += [t.grad for t in tensors if t.is_leaf and t.grad is not None]
    found = [t for t in tensors if t.dtype == torch.float32 and not t.is_meta and tuple(t.shape) in shapes]
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in found}.values())


SHARED = {"trainable": ALL, "batch_size": 4, "micro_batch": 1, "checkpointing": True}
"""Two samples a process, one at a time."""


def share(out: Path) -> None:
    """One of two processes: an update under FSDP2, and what it held."""
    accelerator, wanted = open_accelerator(cpu=True), stage(**SHARED)
    made = Learner(task(SMALL, wanted), wanted, accelerator, parallel="fsdp", **BFLOAT16)
    shapes = {tuple(p.shape) for p in made.parameters.values()}
    held: dict[str, Any] = {"gathered": {}, "whole": [], "activations": []}
    kept = Kept()

    def gathered(name: str) -> Callable[..., None]:
        def look(*_: object) -> None:
            found = [p for p in made.task.parameters() if not isinstance(p, DTensor)]
            held["gathered"][name] = sum(p.untyped_storage().nbytes() for p in found)

        return look

    def before_step(optimiser: Optimizer, *_: object) -> None:
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"]]
        held["gradients"] = sum(local(gradient).nbytes for gradient in gradients)

    for name, module in made.task.named_modules():
        if name in UNITS:
            module.register_forward_pre_hook(gathered(name))
    made.module.register_forward_pre_hook(lambda *_: held["whole"].append(whole_float32(shapes)))
    made.module.register_forward_hook(lambda *_: held["activations"].append(kept.size(made.task)))
    register_optimizer_step_pre_hook(before_step)
    with kept.watching(), recomputing(made.task):
        made.update([batch(SMALL, 1), batch(SMALL, 1, seed=1)])

    held["parameters"] = sum(local(p).untyped_storage().nbytes() for p in made.task.parameters())
    moments = [m for moments in made._optimiser.state.values() for m in moments.values() if m.ndim]
    held["moments"] = sum(local(moment).nbytes for moment in moments)
    assert made.average is not None
    held["average"] = sum(local(value).nbytes for value in made.average._average.values())
    (out / f"{accelerator.process_index}.json").write_text(json.dumps(held))
    accelerator.end_training()


UNITS = ("dit.blocks.1", "dit.injections.layers.2", "tower.blocks.0", "conditioner.vertex_net")
KINDS = ("parameters", "gradients", "moments", "average")


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two processes held."""
    out = tmp_path_factory.mktemp("shares")
    done = subprocess.run(
        [TORCHRUN, "--nproc-per-node", "2", __file__, out],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((out / f"{rank}.json").read_text()) for rank in range(2)]


def test_shares_of_two_processes(shares: list[dict[str, Any]]) -> None:
    """To the byte: the first process has what the formula says, the other less, where rows are odd."""
    expected = stage_memory(SMALL, stage(**SHARED), gpus=2, device="cpu", latents=LATENTS)
    for kind in KINDS:
        first, second = (held[kind] for held in shares)
        assert first == getattr(expected, kind), kind
        # What is gathered is padded to equal parts, and stored as that.
        assert second == first if kind == "parameters" else 0.95 * first < second < first, kind
    for held in shares:
        before, after = held["whole"]
        assert after - before == expected.accumulated


def test_what_is_gathered(shares: list[dict[str, Any]]) -> None:
    """To the byte: one unit, and what its part keeps gathered around it."""
    wanted = stage(**SHARED)
    weights = stage_weights(SMALL, wanted, torch.bfloat16, torch.bfloat16)
    sizes = unit_bytes(weights, 2)
    for held in shares:
        assert held["gathered"] == {unit: sizes[unit] + sizes[unit.split(".")[0]] for unit in UNITS}
    trained = {w.unit for w in weights if w.trained}
    gradients = max(
        sum(math.prod(w.shape) * (w.gathered_itemsize + 4) for w in weights if w.unit == u) for u in trained
    )
    largest = sizes["dit"] + 2 * max(sizes[unit] for unit in sizes if unit.startswith("dit."))
    assert stage_memory(SMALL, wanted, gpus=2).working == largest + gradients


def test_activations_of_two_processes(shares: list[dict[str, Any]]) -> None:
    expected = stage_memory(SMALL, stage(**SHARED), gpus=2, device="cpu", latents=LATENTS).activations
    expected -= block_bytes(SMALL.dit, VIDEO, 20, Casts(product=2, norm=2), trained=True)
    for held in shares:
        assert held["activations"] == [pytest.approx(expected, rel=WITHIN)] * 2


def test_weights_are_the_tasks() -> None:
    for config in (SMALL, *ABLATIONS.values()):
        wanted = stage(trainable=("conditioner.*", "!conditioner.resconv.*"))
        made = task(config, wanted)
        mine = {weight.name: (weight.shape, weight.trained) for weight in stage_weights(config, wanted, **BFLOAT16)}
        chosen = trainable(made, wanted)
        assert mine == {name: (tuple(p.shape), name in chosen) for name, p in made.named_parameters()}
    text_alone = stage_weights(SMALL, stage(faces=False, trainable=("dit.*",)), **BFLOAT16)
    assert {weight.unit.split(".")[0] for weight in text_alone} == {"dit"}


@pytest.mark.parametrize(
    ("shape", "gpus", "numel"), [((10, 3), 4, 9), ((1, 5, 7), 8, 35), ((8, 2), 8, 2), ((6,), 1, 6)]
)
def test_rows_that_do_not_divide(shape: tuple[int, ...], gpus: int, numel: int) -> None:
    assert Weight("a", shape, 4, True, "a", 4).numel_of_first(gpus) == numel


def test_what_changes_what() -> None:
    """At full size."""
    one = stage_memory(FULL, stage(batch_size=1), gpus=1, parallel="fsdp")
    assert one == stage_memory(FULL, stage(batch_size=1), gpus=1, parallel="ddp")
    assert one.accumulated == 0 and one.parameters / 2**30 == pytest.approx(15.0, abs=0.1)
    eight, sixteen = (stage_memory(FULL, stage(batch_size=16, micro_batch=1), gpus=n) for n in (8, 16))
    assert eight.accumulated == one.gradients and sixteen.accumulated == 0
    assert one.gradients / 8 <= eight.gradients <= 1.01 * one.gradients / 8
    assert eight.activations == sixteen.activations == one.activations
    assert stage_memory(FULL, stage(batch_size=16, micro_batch=2), gpus=8).activations > 1.99 * one.activations
    frozen = stage_memory(FULL, stage(batch_size=1), gpus=1, frozen=torch.float32)
    assert frozen.parameters > 1.6 * one.parameters and frozen.working > 3 * one.working
    picture = stage_memory(FULL, stage(batch_size=1, pictures=True), gpus=1).activations
    size = FULL.dit.sample_height, FULL.dit.sample_width
    assert picture == stage_memory(FULL, stage(batch_size=1), gpus=1, latents=(1, *size)).activations
    assert one.activations > 5 * picture
    few, many = (stage(steps=2, batch_size=1, micro_batch=None, picture_batch=count) for count in (2, 20))
    assert stage_memory(FULL, few, gpus=1).activations == one.activations
    assert stage_memory(FULL, many, gpus=1).activations > 19 * picture > one.activations
    no_average = replace(stage(batch_size=1), optimiser=OptimiserConfig(ema_decay=None))
    assert stage_memory(FULL, no_average, gpus=1).average == 0


def test_documented_memory() -> None:
    """The table in the documentation is what the formula says."""
    alone, base = stage(steps=90_000, batch_size=16, micro_batch=1, checkpointing=True), ("conditioner.*", "dit.*")
    columns = {
        "FSDP2, 8 GPUs": stage_memory(FULL, alone, gpus=8),
        "FSDP2, 16 GPUs": stage_memory(FULL, alone, gpus=16),
        "DDP, 16 GPUs": stage_memory(FULL, alone, gpus=16, parallel="ddp"),
        "FSDP2, 16 GPUs, nothing recomputed": stage_memory(FULL, replace(alone, checkpointing=False), gpus=16),
        "FSDP2, 16 GPUs, base trained too": stage_memory(FULL, replace(alone, trainable=base), gpus=16),
    }
    assert table(columns) in DOCUMENT.read_text()
    dit, casts = FULL.dit, Casts.of(torch.bfloat16, "cuda")
    parts = {
        "8.3 GiB the inputs of 41 blocks": 41 * dit.dim * (4 * 17_550 + 2 * 226),
        "22.5 GiB inside 42": 42 * injection_bytes(dit.injection, dit.dim, 17_550, casts),
        "1.6 GiB inside the one block": block_bytes(dit, 17_550, 226, casts, trained=False),
    }
    for text, size in parts.items():
        assert text in DOCUMENT.read_text() and f"{size / 2**30:.1f}" == text.split()[0]
    rest = columns["FSDP2, 16 GPUs"].activations - sum(parts.values())
    assert f"{rest / 2**30:.1f} GiB the rest" == "0.5 GiB the rest"


def test_documented_work() -> None:
    """FLOP of a step, from the sizes of the network."""
    dit, text = FULL.dit, DOCUMENT.read_text()
    layers, width, inner, keys = dit.num_layers, dit.dim, dit.injection.inner_dim, FULL.num_id_tokens
    video = math.prod(dit.sample_grid)
    tokens = video + dit.max_text_seq_length
    products = layers * 24 * tokens * width**2
    attention = layers * 4 * tokens**2 * width
    injection = layers * video * (4 * width * inner + 4 * keys * inner + 18 * width)
    again = (layers - 1) / layers
    forward, backward = products + attention + injection, again * (products + 2 * attention) + 2 * injection
    recomputed = again * (products + attention)
    rows = {
        "forward: matrix products 0.169, self-attention 0.163, injection 0.020": forward,
        "gradients of activations, through a frozen base, and injection's weights": backward,
        "**base frozen, nothing recomputed**": forward + backward,
        "blocks once more, where they are recomputed": recomputed,
        "**base frozen, blocks recomputed**": forward + backward + recomputed,
        "gradients of the base's weights, where it is trained": products,
        "**base trained, nothing recomputed**": forward + backward + products,
    }
    for name, work in rows.items():
        bold = "**" if name.startswith("**") else ""
        share = 100 * work / (1.44 * 312e12)
        assert f"| {name} | {bold}{work / 1e15:.3f}{bold} | {bold}{share:.0f} %{bold} |" in text
    for work in (forward + backward, forward + backward + recomputed):
        seconds = work / (0.4 * 312e12)
        assert f"{seconds:.1f} s with" in text and f"{25 * seconds:.0f}" in text


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"^a batch of 4 cannot be shared out evenly to 3 GPUs$"):
        stage_memory(FULL, stage(batch_size=4), gpus=3)
    with pytest.raises(ConfigError, match=r"^stage identity: no parameter is called hair"):
        stage_memory(FULL, stage(trainable=("hair",)), gpus=2)


if __name__ == "__main__":
    share(Path(sys.argv[1]))
