"""A task on several devices: whole on each (DDP), or its weights shared out (FSDP2).

Gradients are means over processes, each of which takes an equal share of a batch, so that a run gives the same weights
on any number of them, up to rounding. Under FSDP2 every block of every transformer is gathered when its turn comes, in
the run's precision; the vertex net is gathered in float32, which it computes in.

Source: torch.distributed.fsdp.fully_shard.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.models.t5.modeling_t5 import T5Block

from fantasyid_engine.models.block import Block
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.eva_clip import TowerBlock
from fantasyid_engine.models.injection import KeyValue, LayerAwareLayer, QueryLayer
from fantasyid_engine.models.vertex_net import FaceOnlyNet, PaperVertexNet
from fantasyid_engine.training.tasks.task import Task

GATHERED_ALONE = (Block, TowerBlock, T5Block, LayerAwareLayer, QueryLayer, KeyValue)
"""What is gathered when its turn comes."""


def open_accelerator(*, cpu: bool) -> Accelerator:
    """Joins the processes that a launcher started (torchrun, accelerate launch), or is alone.

    Its own mixed precision is left off: it is fixed for the life of a process, and a recipe may be the second one.
    """
    handlers: list[Any] = [DistributedDataParallelKwargs(broadcast_buffers=False, gradient_as_bucket_view=True)]
    return Accelerator(cpu=cpu, mixed_precision="no", kwargs_handlers=handlers)


def parallelise(
    task: Task, accelerator: Accelerator, how: Literal["ddp", "fsdp"], gathered: torch.dtype | None
) -> nn.Module:
    """The task on the accelerator's device, ready for several processes; called as the task is.

    `gathered` is what FSDP2 gathers weights as; None leaves them as they are.
    """
    if how == "fsdp" and accelerator.num_processes > 1:
        return _shared_out(task, accelerator, gathered)
    if accelerator.num_processes > 1:
        return accelerator.prepare_model(task)
    return task.to(accelerator.device)


def _shared_out(task: Task, accelerator: Accelerator, gathered: torch.dtype | None) -> nn.Module:
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    # Inputs stay as they are: vertices, rotary tables and targets are float32, and autocast casts what products take.
    policy = MixedPrecisionPolicy(param_dtype=gathered, reduce_dtype=torch.float32, cast_forward_inputs=False)
    task.to(accelerator.device)
    for parameter in task.parameters():
        parameter.data = parameter.data.contiguous()  # FSDP2 shares out no other layout
    for module in list(task.modules()):
        if isinstance(module, PaperVertexNet | FaceOnlyNet):
            fully_shard(module, mesh=mesh)
        elif isinstance(module, GATHERED_ALONE):
            fully_shard(module, mesh=mesh, mp_policy=policy)
    for part in task.children():
        # Of the VAE other methods are called, which return what has no gradients to hook on; a dictionary of modules is
        # not called at all. They go with the task.
        if not isinstance(part, AutoencoderKLCogVideoX | nn.ModuleDict):
            fully_shard(part, mesh=mesh, mp_policy=policy)
        if isinstance(part, DiT):
            register_fsdp_forward_method(part, "embed")
    # Also the outermost is shared out again after each forward pass: what is put in place of weights must be seen.
    fully_shard(task, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
    register_fsdp_forward_method(task, "finish")
    return task


@contextmanager
def accumulating(module: nn.Module, accelerator: Accelerator, last: bool) -> Iterator[None]:
    """Exchanges gradients with the other processes after the last of several backward passes only."""
    if isinstance(module, FSDPModule):
        module.set_requires_gradient_sync(last)
    with nullcontext() if last or isinstance(module, FSDPModule) else accelerator.no_sync(module):
        yield


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may be shared out: on the CPU, detached. All processes must ask."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).cpu()


def copy_into(tensor: Tensor, values: Tensor) -> None:
    """Fills a tensor that may be shared out from all of its values."""
    if isinstance(tensor, DTensor):
        tensor.detach().copy_(distribute_tensor(values.to(tensor.device), tensor.device_mesh, tensor.placements))
    else:
        tensor.detach().copy_(values)
