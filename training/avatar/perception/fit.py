"""The one loop that all of them are trained with, and how their pictures are varied.

AdamW, one rise and one cosine fall of the learning rate.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Say = Callable[[str], None]
BESIDE = 6
"""Pixels by which a crop may be off."""


def fit(
    parameters: Iterable[nn.Parameter], loss: Callable[[], Tensor], *, steps: int, lr: float, say: Say, name: str
) -> None:
    """Takes `steps` steps down `loss`, which draws its own batch; `say` hears of it ten times."""
    parameters = list(parameters)
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.15)
    mean = 0.0
    for step in range(1, steps + 1):
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        schedule.step()
        mean = value.item() if step == 1 else 0.98 * mean + 0.02 * value.item()
        if step % max(1, steps // 10) == 0:
            say(f"{name}: step {step} of {steps}, loss {mean:.4f}")


def jittered(x: Tensor, generator: torch.Generator) -> Tensor:
    """Crops with `BESIDE` pixels around them [B, 3, S + 12, S + 12] -> [B, 3, S, S], off in place and scale."""
    size = x.shape[-1] - 2 * BESIDE
    room = int(torch.randint(-3, 4, (), generator=generator))
    down, right = torch.randint(0, 2 * BESIDE + 1, (2,), generator=generator).tolist()
    top, left = max(0, down - room), max(0, right - room)
    cut = x[..., top : size + down + room, left : size + right + room]
    return F.interpolate(cut, size=(size, size), mode="bilinear", align_corners=False)


def disturbed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures [B, 3, S, S] in [-1, 1] as poorer cameras and generators make them: coarser, softer, noisy, darker."""
    size = pictures.shape[-1]
    if _chance(0.4, generator):
        coarse = int(size * (0.5 + 0.45 * torch.rand((), generator=generator).item()))
        pictures = F.interpolate(pictures, size=coarse, mode="area")
        pictures = F.interpolate(pictures, size=size, mode="bilinear", align_corners=False)
    if _chance(0.25, generator):
        pictures = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    if _chance(0.5, generator):
        pictures = pictures + 0.06 * torch.rand((), generator=generator) * _normal(pictures.shape, generator)
    gain = 1 + 0.08 * _normal((len(pictures), 1, 1, 1), generator)
    return (pictures * gain + 0.05 * _normal((len(pictures), 1, 1, 1), generator)).clamp(-1, 1)


def pick(count: int, batch: int, generator: torch.Generator) -> Tensor:
    """Places of a batch, drawn with replacement."""
    return torch.randint(count, (batch,), generator=generator)


def _chance(share: float, generator: torch.Generator) -> bool:
    return torch.rand((), generator=generator).item() < share


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)
