"""Small networks that look at avatars: what a picture shows, where heads are, what moves over a clip.

B pictures, C channels, S side of a square picture, F frames, E numbers a picture.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two 3x3 convolutions with batch norm beside a shortcut (He et al. 2016); the first may halve the picture."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        same = stride == 1 and in_channels == channels
        self.shortcut = None if same else nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, S, S] -> [B, channels, S / stride, S / stride]."""
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class Backbone(nn.Module):
    """A stem, then a residual block a width; each halves the picture."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 3, 2, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        pairs = zip((widths[0], *widths[:-1]), widths, strict=True)
        self.blocks = nn.ModuleList(Residual(before, after, 1 + (i > 0)) for i, (before, after) in enumerate(pairs))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Pictures [B, 3, S, S] in [-1, 1] -> a map a width, at S / 2, S / 4, ..."""
        x, maps = F.relu(self.stem_norm(self.stem(x))), []
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps


class PictureNet(nn.Module):
    """Picture -> numbers: backbone, 4x4 cells of its last map, a hidden layer, one linear layer."""

    CELLS = 4

    def __init__(self, widths: Sequence[int], hidden: int, out: int) -> None:
        super().__init__()
        self.backbone = Backbone(widths)
        self.hidden = nn.Linear(widths[-1] * self.CELLS**2, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.out = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> [B, out]."""
        cells = F.adaptive_avg_pool2d(self.backbone(x)[-1], self.CELLS)
        return self.out(F.relu(self.norm(self.hidden(cells.flatten(1)))))

    def pooled(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] in [-1, 1] -> the mean of each channel of each map, [B, sum of the widths]."""
        return torch.cat([found.mean((2, 3)) for found in self.backbone(x)], dim=1)


class HeadFinder(nn.Module):
    """Where heads are, one guess a cell (Zhou et al. 2019, "Objects as Points").

    Each cell of 8 x 8 pixels says how sure it is that a head's middle lies in it, where in it, and the head's size.
    """

    STRIDE = 8

    def __init__(self, widths: Sequence[int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.backbone = Backbone(widths)
        self.wide = nn.Conv2d(widths[3], widths[2], 1)
        self.mix = nn.Conv2d(widths[2], widths[2], 3, 1, 1)
        self.out = nn.Conv2d(widths[2], 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures [B, 3, S, S] in [-1, 1] -> logits [B, S/8, S/8]; left, top, right, bottom [B, 4, S/8, S/8]."""
        *_, near, far = self.backbone(x)
        near = near + F.interpolate(self.wide(far), size=near.shape[-2:], mode="bilinear", align_corners=False)
        sure, right, down, wide, high = self.out(F.relu(self.mix(near))).unbind(1)
        rows, columns = (torch.arange(n, device=x.device) + 0.5 for n in sure.shape[-2:])
        middle_x, middle_y = (columns + right) * self.STRIDE, (rows[:, None] + down) * self.STRIDE
        half_w, half_h = wide.clamp(-4, 4).exp() * 16, high.clamp(-4, 4).exp() * 16
        return sure, torch.stack([middle_x - half_w, middle_y - half_h, middle_x + half_w, middle_y + half_h], dim=1)


class MotionReader(nn.Module):
    """What happens in a clip, from numbers a frame: two convolutions over time, then mean and maximum."""

    def __init__(self, in_channels: int, out: int, width: int = 64) -> None:
        super().__init__()
        self.first = nn.Conv1d(3 * in_channels, width, 5, padding=2)
        self.second = nn.Conv1d(width, width, 5, padding=2)
        self.out = nn.Linear(3 * width, out)

    def forward(self, x_BFE: Tensor) -> Tensor:
        """[B, F, E] -> [B, out]; beside each number go its distance from the clip's first and its change."""
        change = F.pad(x_BFE[:, 1:] - x_BFE[:, :-1], (0, 0, 1, 0))
        x = torch.cat([x_BFE, x_BFE - x_BFE[:, :1], 4 * change], dim=2).transpose(1, 2)
        x = F.relu(self.second(F.relu(self.first(x))))
        return self.out(torch.cat([x.mean(2), x.amax(2), x[:, :, -1]], dim=1))


def as_input(pictures: Tensor) -> Tensor:
    """uint8 RGB [B, 3, S, S] -> float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1
