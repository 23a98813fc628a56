"""What every launcher does: check, read tensors that are not contiguous, and launch."""

from typing import Any

import torch
from torch import Tensor


def fits(op: str, right: bool, found: str) -> None:
    """Raises ValueError, naming the op and what it was given, where that is not right."""
    if not right:
        raise ValueError(f"{op}: {found}")


def row_major(x: Tensor) -> Tensor:
    """Gives x, or a copy of it whose last axis is dense; kernels take any stride of the others."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()


def launch(kernel: Any, grid: tuple[Any, ...], *arguments: Any, **options: Any) -> None:
    """Runs a kernel on the device of its first argument.

    Type checkers do not know what `triton.jit` makes of a function, nor its options.
    """
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, **options)


def scattered(x_BIC: Tensor, index_I: Tensor, vertices: int) -> Tensor:
    """Sums entries into the vertices that `index` names -> [B, V, C], in a fixed order on any device."""
    made = x_BIC.new_zeros((vertices, len(x_BIC), x_BIC.shape[2]))
    return made.index_put((index_I,), x_BIC.transpose(0, 1), accumulate=True).transpose(0, 1)
