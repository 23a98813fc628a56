"""Inputs for kernels, and the rule they are held to."""

import pytest
import torch
from torch import Tensor

DTYPES = [
    torch.float32,
    torch.float16,
    pytest.param(torch.bfloat16, marks=pytest.mark.gpu),  # the interpreter cannot
]


def draw(seed: int, *shape: int, dtype: torch.dtype, device: torch.device, scale: float = 1.0) -> Tensor:
    """Normal numbers, rounded to `dtype`."""
    generator = torch.Generator().manual_seed(seed)
    return (scale * torch.randn(*shape, generator=generator)).to(device, dtype)


def spread(x: Tensor) -> Tensor:
    """The same values, of which no two rows lie next to each other in memory."""
    room = x.new_full((x.shape[0], 2 * x.shape[1] + 1, x.shape[2] + 3), torch.nan)
    view = room[:, 1::2, 2:-1]
    view.copy_(x)
    return view


def no_worse_than_torch(name: str, made: Tensor, plain: Tensor, exact: Tensor, *, factor: float = 2.0) -> None:
    """Error against float64 at most `factor` that of plain torch in the same dtype, and the output's last digit."""
    assert made.shape == exact.shape, f"{name}: {tuple(made.shape)}, expected {tuple(exact.shape)}"
    assert made.dtype == plain.dtype, f"{name}: {made.dtype}, expected {plain.dtype}"
    assert bool(made.isfinite().all()), f"{name}: {int((~made.isfinite()).sum())} values are not finite"
    digit = torch.finfo(made.dtype).eps
    for measure in (lambda x: x.abs().max(), lambda x: x.square().mean().sqrt()):
        error, allowed = float(measure(made.double() - exact)), float(measure(plain.double() - exact))
        allowed = factor * allowed + digit * float(measure(exact))
        assert error <= allowed, f"{name}: error {error:.3g}, at most {allowed:.3g}"
