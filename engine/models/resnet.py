"""The trunk of ResNet-50: what RetinaFace and DECA share.

    conv 7x7 / 2, norm, ReLU, max-pool 3x3 / 2, then layers of 3, 4, 6 and 3 bottlenecks, 64 to 512 channels x 4;
    the 3x3 of a layer's first bottleneck carries its stride (1, 2, 2, 2)

Names of parameters are torchvision's, as both checkpoints have them. Source: He et al. 2016; the place of the stride:
"ResNet v1.5".
"""

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4
CHANNELS = (512, 1024, 2048)
"""Of the maps that `ResNet50` returns."""


class Bottleneck(nn.Module):
    """x + 1x1, 3x3 with the stride, 1x1; the shortcut is projected where `projects`."""

    def __init__(self, in_channels: int, width: int, stride: int, *, projects: bool) -> None:
        """`width` channels inside, four times as many come out."""
        super().__init__()
        out_channels = EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out_channels, 1, bias=False), nn.BatchNorm2d(out_channels)
        self.downsample = (
            nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))
            if projects
            else None
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 4 * width, ceil(H / stride), ceil(W / stride)]."""
        y = F.relu(self.bn1(self.conv1(x_BCHW)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x_BCHW if self.downsample is None else self.downsample(x_BCHW)))


class ResNet50(nn.Module):
    """Pictures -> the maps of its last three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.layer1 = _layer(64, 64, 3, stride=1)
        self.layer2 = _layer(256, 128, 4, stride=2)
        self.layer3 = _layer(512, 256, 6, stride=2)
        self.layer4 = _layer(1024, 512, 3, stride=2)

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, H, W] -> [B, 512, H/8, W/8], [B, 1024, H/16, W/16], [B, 2048, H/32, W/32], sizes rounded up."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x_B3HW))), 3, 2, 1)
        c3 = self.layer2(self.layer1(x))
        c4 = self.layer3(c3)
        return c3, c4, self.layer4(c4)


def _layer(in_channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_channels, width, stride, projects=True)
    rest = [Bottleneck(EXPANSION * width, width, 1, projects=False) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)
