"""Face abstractor: the tower's patch tokens -> fewer 2-D face tokens that keep their places.

C-Abstractor (Honeybee): positions, three RegNet bottlenecks, average pooling, three bottlenecks, a readout:

    X_f = readout(bottlenecks(pool(bottlenecks(tokens + positions))))           grid x grid -> grid/pool squared

The paper's form is this alone. The released form has three linear layers before, and a feed-forward (without residual)
and a projection after; and it adds *two* position tables, because the release adds them in place on a shared tensor.

B batch, M patch tokens, C channels. Source: Honeybee (Cha et al. 2024); timm's RegNet bottleneck;
github.com/Fantasy-AMAP/fantasy-id @ c429092, models/projectors.py.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import AbstractorConfig


class ConvNorm(nn.Module):
    """Convolution without bias, then LayerNorm over channels at each place."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, groups: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_dim, out_dim, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.LayerNorm(out_dim, eps=eps)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in_dim, H, W] -> [B, out_dim, H, W]."""
        return self.norm(self.conv(x_BCHW).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class SqueezeExcite(nn.Module):
    """Scales each channel by a sigmoid of all channels' means."""

    def __init__(self, dim: int, squeezed_dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(dim, squeezed_dim, 1)
        self.fc2 = nn.Conv2d(squeezed_dim, dim, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        mean = x_BCHW.mean((2, 3), keepdim=True)
        return x_BCHW * torch.sigmoid(self.fc2(F.silu(self.fc1(mean))))


class Bottleneck(nn.Module):
    """RegNet bottleneck: 1x1, depthwise 3x3, squeeze-excite (a quarter of the *input* channels), 1x1, shortcut."""

    def __init__(self, in_dim: int, out_dim: int, eps: float) -> None:
        super().__init__()
        self.conv1 = ConvNorm(in_dim, out_dim, 1, 1, eps)
        self.conv2 = ConvNorm(out_dim, out_dim, 3, out_dim, eps)
        self.se = SqueezeExcite(out_dim, in_dim // 4)
        self.conv3 = ConvNorm(out_dim, out_dim, 1, 1, eps)
        self.shortcut = nn.Identity() if in_dim == out_dim else ConvNorm(in_dim, out_dim, 1, 1, eps)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, in_dim, H, W] -> [B, out_dim, H, W]."""
        h = F.silu(self.conv2(F.silu(self.conv1(x_BCHW))))
        return F.silu(self.conv3(self.se(h)) + self.shortcut(x_BCHW))


class FaceAbstractor(nn.Module):
    """The C-Abstractor itself; the whole abstractor of the paper's form."""

    def __init__(self, config: AbstractorConfig) -> None:
        super().__init__()
        self.config = config
        dims = [config.in_dim] + [config.hidden_dim] * config.depth
        self.positions = nn.ParameterList(
            torch.zeros(1, config.grid**2, config.in_dim) for _ in range(config.num_position_tables)
        )
        self.before = nn.Sequential(*(Bottleneck(i, o, config.norm_eps) for i, o in pairwise(dims)))
        self.after = nn.Sequential(
            *(Bottleneck(config.hidden_dim, config.hidden_dim, config.norm_eps) for _ in range(config.depth))
        )
        self.readout = nn.Sequential(
            nn.Linear(config.hidden_dim, config.in_dim), nn.SiLU(), nn.Linear(config.in_dim, config.in_dim)
        )

    def forward(self, tokens_BMC: Tensor) -> Tensor:
        """Patch tokens [B, grid^2, in_dim] without CLS -> face tokens [B, (grid / pool)^2, in_dim]."""
        for position in self.positions:
            tokens_BMC = tokens_BMC + position
        maps = tokens_BMC.transpose(1, 2).unflatten(2, (self.config.grid, self.config.grid))
        maps = self.after(F.avg_pool2d(self.before(maps), self.config.pool))
        return self.readout(maps.flatten(2).transpose(1, 2))


class ReleasedFaceAbstractor(nn.Module):
    """Mapping, C-Abstractor, feed-forward without residual, projection to the ID width."""

    def __init__(self, config: AbstractorConfig, id_dim: int) -> None:
        super().__init__()
        dim, eps = config.in_dim, config.norm_eps
        self.mapping = nn.Sequential(
            *(nn.Linear(dim, dim), nn.LayerNorm(dim, eps=eps), nn.LeakyReLU(0.01)),
            *(nn.Linear(dim, dim), nn.LayerNorm(dim, eps=eps), nn.LeakyReLU(0.01)),
            nn.Linear(dim, dim),
        )
        self.abstractor = FaceAbstractor(config)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(dim, eps=eps),
            nn.Linear(dim, 4 * dim, bias=False),
            nn.GELU(),
            nn.Linear(4 * dim, dim, bias=False),
        )
        self.proj_out = nn.Parameter(torch.randn(dim, id_dim) / dim**0.5)

    def forward(self, tokens_BMC: Tensor) -> Tensor:
        """Patch tokens [B, grid^2, in_dim] without CLS -> face tokens [B, (grid / pool)^2, id_dim]."""
        return self.feed_forward(self.abstractor(self.mapping(tokens_BMC))) @ self.proj_out
