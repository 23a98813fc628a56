"""Memory of a GPU in a diffusion stage, by formula.

W GPUs; a weight has rows x rest numbers; s, n bytes of a number in matrix products and in what norms take: 2 and 4 in
bfloat16 on a GPU, whose autocast gives norms float32; 2 and 2 on a CPU; 4 and 4 in float32. FSDP2 shards rows: the
first GPU, which holds the most, has ceil(rows / W) of each weight; DDP is W = 1.

    parameters     ceil(rows / W) rest x 4 of what is trained, x 2 of what is frozen and stored in bfloat16
    gradients, average          4 of what is trained, sharded alike;  moments 8
    accumulated    4 of what is trained, not sharded, where a share of a batch is taken in several parts: FSDP2
                   exchanges gradients after the last
    working        weights as products take them.  FSDP2: what a part gathers while it runs, its largest unit, and the
                   next one coming, no larger; and of the largest unit that is trained the gradient, s and, on its way
                   to the others, 4.  DDP: copies, s each, of float32 matrices that autocast and autograd keep
    activations    what autograd keeps of a micro-batch of B samples:

a block, of T = N + L tokens and H heads of d, D = H d (see `block_bytes`):

    T D (4 n + 8 s)          norms' inputs: x twice, q, k;  q, k, v, out of attention, 4 D before GELU
    T (4 n (1 + H) + 4 H)    norms' mean and deviation, log-sum-exp
    T D (2 n + (q + 8) s)    only where it is trained: norms' outputs, inputs of q, k, v (q is 3 where each casts its
                             own, n > s, else 1), out, up and down (4 D), outputs of attention and feed-forward

an injection, of inner width I and h heads (see `injection_bytes`):

    N D s + 2 N I s + 4 N h  input of W_q, q, out, log-sum-exp
    N D (s + n) + 2 n N      only of F_l: its depthwise convolution's input, its norm's

and at the ends two norms, rotary tables, prediction and target, keys and values. Blocks before the first injection keep
nothing where the base is frozen: no gradient goes there. With checkpointing a block keeps its inputs, N D r + L D s, r
being n where F_l's norm made x, else s; and one block at a time all of the above. Injections are not recomputed.

Not counted: the encoders of text and video, whose outputs are cached; buffers; activations of the conditioner before
its keys and values, and of the tower where it is trained; temporaries of the backward pass; what CUDA and NCCL take.

B batch, N video tokens, L text tokens, D width.
Source: the code of `models`, `learner` and `parallel`; torch.distributed.fsdp.fully_shard. Checked against measurement
by tests/training/test_memory.py.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import torch
from torch import nn

from fantasyid_engine.config.schema import DiTConfig, InjectionConfig, MeshConfig, NetworkConfig
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable
from fantasyid_engine.models.network import Network, weight_dtype
from fantasyid_engine.models.vertex_net import FaceOnlyNet, PaperVertexNet
from fantasyid_engine.training.optimiser import trainable
from fantasyid_engine.training.parallel import GATHERED_ALONE
from fantasyid_engine.training.recipe import DiffusionStage

MASTER = 4
"""Bytes of a number in weights that are trained, their gradients, each moment and the average: float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the GPU that holds the most, by kind; see the top of this file."""

    parameters: int
    gradients: int
    moments: int
    average: int
    accumulated: int
    working: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


def table(columns: Mapping[str, Memory]) -> str:
    """A Markdown table in GiB: a row for each kind and for the total, a column for each name."""
    kinds = [*(field.name for field in fields(Memory)), "total"]
    lines = [f"| GiB | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for kind in kinds:
        sizes = (getattr(memory, kind) / 2**30 for memory in columns.values())
        lines.append(f"| {kind} | {' | '.join(f'{size:.1f}' for size in sizes)} |")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Casts:
    """Bytes of a number: `product` in matrix products, `norm` in what norms take and give."""

    product: int
    norm: int

    @classmethod
    def of(cls, precision: torch.dtype, device: Literal["cuda", "cpu"]) -> "Casts":
        """What autocast does on a device."""
        return cls(product=precision.itemsize, norm=MASTER if device == "cuda" else precision.itemsize)


@dataclass(frozen=True, slots=True)
class Weight:
    """One parameter: its shape, bytes of a number as stored, whether it is trained, and as what it is gathered."""

    name: str
    shape: tuple[int, ...]
    itemsize: int
    trained: bool
    unit: str
    gathered_itemsize: int

    def numel_of_first(self, gpus: int) -> int:
        """Numbers that the first of so many GPUs has of it."""
        return -(-self.shape[0] // gpus) * math.prod(self.shape[1:])


def stage_memory(
    network: NetworkConfig,
    stage: DiffusionStage,
    *,
    gpus: int,
    parallel: Literal["ddp", "fsdp"] = "fsdp",
    precision: torch.dtype = torch.bfloat16,
    frozen: torch.dtype = torch.bfloat16,
    device: Literal["cuda", "cpu"] = "cuda",
    latents: tuple[int, int, int] | None = None,
) -> Memory:
    """Memory of a GPU while a stage trains a network; its text tokens are cached.

    Args:
        network: what is trained.
        stage: says what is trainable, batch, micro-batch and checkpointing.
        gpus: how many share a batch.
        parallel: as in a recipe, like the next two.
        precision: of matrix products.
        frozen: what is not trained is stored as.
        device: whose autocast it is.
        latents: frames, height and width; None takes those the network was made for.

    Raises:
        ConfigError: the stage's patterns name nothing.
        ValueError: a batch that cannot be shared out evenly.
    """
    for batch in stage.batches:
        if batch % gpus:
            raise ValueError(f"a batch of {batch} cannot be shared out evenly to {gpus} GPUs")
    shared_out = parallel == "fsdp" and gpus > 1
    shards = gpus if shared_out else 1

    weights = stage_weights(network, stage, precision, frozen)
    trained = [weight for weight in weights if weight.trained]
    first = sum(weight.numel_of_first(shards) for weight in trained)
    base_trained = any(w.name.startswith("dit.") and not w.name.startswith("dit.injections.") for w in trained)
    in_parts = shared_out and any(_micro_batch(stage, batch, gpus) < batch // gpus for batch in stage.batches)
    return Memory(
        parameters=sum(weight.itemsize * weight.numel_of_first(shards) for weight in weights),
        gradients=MASTER * first,
        moments=2 * MASTER * first,
        average=0 if stage.optimiser.ema_decay is None else MASTER * first,
        accumulated=MASTER * sum(math.prod(weight.shape) for weight in trained) if in_parts else 0,
        working=_gathered(weights, gpus) if shared_out else _copies(weights, precision, stage.checkpointing),
        activations=max(
            activation_bytes(
                network,
                kind,
                base_trained=base_trained,
                casts=Casts.of(precision, device),
                batch=_micro_batch(stage, batch, gpus),
                latents=latents,
            )
            for kind, batch in _kinds_of_updates(stage)
        ),
    )


def _micro_batch(stage: DiffusionStage, batch: int, gpus: int) -> int:
    return min(stage.micro_batch or batch, batch // gpus)


def _kinds_of_updates(stage: DiffusionStage) -> list[tuple[DiffusionStage, int]]:
    """A stage of each kind of updates alone, and its batch."""
    kinds = [(stage, stage.batch_size)]
    if stage.picture_batch:
        kinds.append((replace(stage, pictures=True, picture_batch=0), stage.picture_batch))
    return kinds


def stage_weights(
    network: NetworkConfig, stage: DiffusionStage, precision: torch.dtype, frozen: torch.dtype
) -> list[Weight]:
    """Every parameter of a stage's task, from the real modules.

    Raises:
        ConfigError: the stage's patterns name nothing.
    """
    parts = _parts(network, stage)
    chosen = trainable(parts, stage)
    islands = [name for name, module in parts.named_modules() if isinstance(module, PaperVertexNet | FaceOnlyNet)]
    alone = [name for name, module in parts.named_modules() if isinstance(module, GATHERED_ALONE)]
    units = {*islands, *alone, *(name for name, _ in parts.named_children())}

    def weight(name: str, shape: tuple[int, ...]) -> Weight:
        unit = next(above for above in _above(name) if above in units)
        return Weight(
            name,
            shape,
            MASTER if name in chosen else weight_dtype(name, frozen).itemsize,
            name in chosen,
            unit,
            MASTER if unit in islands else precision.itemsize,
        )

    return [weight(name, tuple(parameter.shape)) for name, parameter in parts.named_parameters()]


def _parts(network: NetworkConfig, stage: DiffusionStage) -> nn.ModuleDict:
    """The modules of a diffusion task without memory for their weights."""
    hierarchy = _stand_in(network.mesh)
    with torch.device("meta"):
        made = Network(network, hierarchy)
    parts: dict[str, nn.Module] = {"dit": made.dit}
    return nn.ModuleDict(parts | ({"tower": made.tower, "conditioner": made.conditioner} if stage.faces else {}))


def _stand_in(config: MeshConfig) -> MeshHierarchy:
    """Tables of the right shapes: weights do not depend on what is in them."""

    def table(rows: int, terms: int) -> SampleTable:
        return SampleTable(torch.zeros(rows, terms, dtype=torch.int32), torch.ones(rows, terms))

    fine, coarse = config.levels[:-1], config.levels[1:]
    return MeshHierarchy(
        spirals=tuple(torch.zeros(count, config.spiral_length, dtype=torch.int32) for count in fine),
        down=tuple(table(count, 1) for count in coarse),
        up=tuple(table(count, 3) for count in fine),
        faces=torch.zeros(1, 3, dtype=torch.int32),
        template=torch.zeros(config.levels[0], 3),
    )


def _above(name: str) -> Iterator[str]:
    """The modules around a parameter, innermost first."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def unit_bytes(weights: Sequence[Weight], gpus: int) -> dict[str, int]:
    """Bytes that each unit of FSDP2 takes while it is gathered on one of so many GPUs, by the unit's name."""
    units: dict[str, int] = {}
    for weight in weights:
        size = gpus * weight.numel_of_first(gpus) * weight.gathered_itemsize
        units[weight.unit] = units.get(weight.unit, 0) + size
    return units


def _gathered(weights: Sequence[Weight], gpus: int) -> int:
    units = unit_bytes(weights, gpus)
    most = 0
    for part in {name.split(".")[0] for name in units}:
        inside = [size for name, size in units.items() if name.startswith(f"{part}.")]
        most = max(most, units.get(part, 0) + 2 * max(inside, default=0))
    gradients: dict[str, int] = {}
    for weight in weights:
        if weight.trained:
            size = (weight.gathered_itemsize + MASTER) * math.prod(weight.shape)
            gradients[weight.unit] = gradients.get(weight.unit, 0) + size
    return most + max(gradients.values(), default=0)


def _copies(weights: Sequence[Weight], precision: torch.dtype, checkpointing: bool) -> int:
    """Of frozen float32 matrices autograd keeps copies in blocks alone: all blocks', or the one's that is computed."""
    kept, blocks = 0, dict[str, int]()
    for weight in weights:
        if weight.itemsize <= precision.itemsize or weight.gathered_itemsize == MASTER or len(weight.shape) == 1:
            continue
        size = precision.itemsize * math.prod(weight.shape)
        if weight.trained:
            kept += size
        elif weight.unit.startswith("dit.blocks."):
            blocks[weight.unit] = blocks.get(weight.unit, 0) + size
    return kept + (max(blocks.values(), default=0) if checkpointing else sum(blocks.values()))


def activation_bytes(
    network: NetworkConfig,
    stage: DiffusionStage,
    *,
    base_trained: bool,
    casts: Casts,
    batch: int = 1,
    latents: tuple[int, int, int] | None = None,
) -> int:
    """What autograd keeps of a micro-batch; see the top of this file.

    Args:
        network: what is trained.
        stage: says whether faces are conditioned on, blocks recomputed, and pictures learnt from.
        base_trained: anything of the DiT but its injections is trained.
        casts: bytes of numbers.
        batch: samples.
        latents: frames, height and width; None takes those the network was made for.
    """
    dit = network.dit
    frames, height, width = latents or (dit.sample_latent_frames, dit.sample_height, dit.sample_width)
    frames = 1 if stage.pictures else frames
    video, text = frames * height * width // dit.patch_size**2, dit.max_text_seq_length
    block = block_bytes(dit, video, text, casts, trained=base_trained)
    blocks = dit.num_layers if base_trained else dit.num_layers - 1 if stage.faces else 0

    shared = 2 * video * dit.attention_head_dim * MASTER  # rotary tables, for all samples
    each = 2 * video * casts.norm * (dit.dim + 2) + 2 * frames * height * width * dit.out_channels * MASTER
    if base_trained:
        each += video * dit.dim * (casts.norm + casts.product)
    injection = dit.injection
    residual = casts.product
    if stage.faces and injection is not None:
        keys = 2 * network.num_id_tokens * injection.inner_dim * casts.product
        each += dit.num_injections * (keys + injection_bytes(injection, dit.dim, video, casts))
        residual = casts.norm if injection.form == "layer_aware" else casts.product
    if stage.checkpointing:
        each += blocks * dit.dim * (video * residual + text * casts.product) + (block if blocks else 0)
    else:
        each += blocks * block
    return shared + batch * each


def block_bytes(dit: DiTConfig, video: int, text: int, casts: Casts, *, trained: bool) -> int:
    """What autograd keeps inside an MM-DiT block, a sample of so many video and text tokens."""
    tokens, heads, s, n = video + text, dit.num_attention_heads, casts.product, casts.norm
    kept = tokens * dit.dim * (4 * n + 8 * s) + tokens * 4 * (n * (1 + heads) + heads)
    if trained:
        copies = 3 if n > s else 1
        kept += tokens * dit.dim * (2 * n + (copies + 8) * s)
    return kept


def injection_bytes(injection: InjectionConfig, dim: int, video: int, casts: Casts) -> int:
    """What autograd keeps inside an injection into a DiT of width `dim`, a sample of so many video tokens."""
    kept = video * (casts.product * (dim + 2 * injection.inner_dim) + MASTER * injection.num_heads)
    if injection.form == "layer_aware":
        kept += video * (dim * (casts.product + casts.norm) + 2 * casts.norm)
    return kept
