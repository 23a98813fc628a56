"""What every launcher checks, and how it reads tensors that are not contiguous."""

from torch import Tensor


def fits(op: str, right: bool, found: str) -> None:
    """Raises ValueError, naming the op and what it was given, where that is not right."""
    if not right:
        raise ValueError(f"{op}: {found}")


def row_major(x: Tensor) -> Tensor:
    """x, or a copy of it whose last axis is dense; kernels take any stride of the others."""
    return x if x.stride(-1) == 1 or x.shape[-1] == 1 else x.contiguous()
