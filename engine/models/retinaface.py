"""RetinaFace with ResNet-50: for every anchor of a picture, whether it is a face, and where its box and points are.

    C3, C4, C5 = ResNet-50                strides 8, 16, 32
    o = ReLU(conv 1x1)                    on each map, to 256 channels
    P5 = o5,   P4 = ReLU(conv 3x3 of (o4 + up(P5))),   P3 = ReLU(conv 3x3 of (o3 + up(P4)))
    F = ReLU([a, c, d])                   a, b, c, d = conv 3x3 of P, P, ReLU(b), ReLU(conv 3x3 of ReLU(b))
    answers = conv 1x1 of F               an anchor: 4 for its box, 2 for its class, 10 for its points

Every convolution but the last ones has no bias and a batch norm behind it. Rows of the answers go by map (the finest
first), row, column, anchor, as in `retinaface_boxes.priors`. Names of parameters are the checkpoint's.

B pictures, H W their size, C channels, h w size of a map, N anchors.
Source: Deng et al. 2020 ("RetinaFace"), the context module from Najibi et al. 2017 ("SSH"); facexlib 0.3.0.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from fantasyid_engine.models.resnet import CHANNELS, ResNet50

WIDTH = 256
ANCHORS = 2
"""At each place of each map."""
MEAN_BGR = (104.0, 117.0, 123.0)


class RetinaFace(nn.Module):
    """Pictures -> answers for all anchors. Batch norms are meant to run on their statistics: eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.body = ResNet50()
        self.fpn = Pyramid()
        self.ssh1, self.ssh2, self.ssh3 = Context(), Context(), Context()
        self.ClassHead = nn.ModuleList(Head(2) for _ in CHANNELS)
        self.BboxHead = nn.ModuleList(Head(4) for _ in CHANNELS)
        self.LandmarkHead = nn.ModuleList(Head(10) for _ in CHANNELS)

    def forward(self, picture_B3HW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures as `as_input` makes them, of any size -> boxes [B, N, 4], classes [B, N, 2], points [B, N, 10].

        Boxes and points are relative to the anchors; classes are probabilities: none, face.
        """
        maps = zip((self.ssh1, self.ssh2, self.ssh3), self.fpn(*self.body(picture_B3HW)), strict=True)
        seen = [context(map_BCHW) for context, map_BCHW in maps]
        box_BN4, class_BN2, point_BN10 = (
            torch.cat([head(x) for head, x in zip(heads, seen, strict=True)], dim=1)
            for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        return box_BN4, class_BN2.softmax(-1), point_BN10


class Pyramid(nn.Module):
    """Carries what the coarse maps know to the finer ones (Lin et al. 2017); the coarsest is not smoothed."""

    def __init__(self) -> None:
        super().__init__()
        self.output1, self.output2, self.output3 = (_conv(channels, WIDTH, 1) for channels in CHANNELS)
        self.merge1, self.merge2 = _conv(WIDTH, WIDTH, 3), _conv(WIDTH, WIDTH, 3)

    def forward(self, c3_BCHW: Tensor, c4_BCHW: Tensor, c5_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Three maps, finest first -> three maps [B, 256, h, w] of the same sizes."""
        p5 = F.relu(self.output3(c5_BCHW))
        p4 = F.relu(self.merge2(_onto(F.relu(self.output2(c4_BCHW)), p5)))
        return F.relu(self.merge1(_onto(F.relu(self.output1(c3_BCHW)), p4))), p4, p5


class Context(nn.Module):
    """What lies around each place, as far as one, two and three 3x3 convolutions see."""

    def __init__(self) -> None:
        super().__init__()
        self.conv3X3 = _conv(WIDTH, WIDTH // 2, 3)
        self.conv5X5_1, self.conv5X5_2 = _conv(WIDTH, WIDTH // 4, 3), _conv(WIDTH // 4, WIDTH // 4, 3)
        self.conv7X7_2, self.conv7x7_3 = _conv(WIDTH // 4, WIDTH // 4, 3), _conv(WIDTH // 4, WIDTH // 4, 3)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 256, h, w] -> the same shape."""
        beside = F.relu(self.conv5X5_1(x_BCHW))
        far = self.conv7x7_3(F.relu(self.conv7X7_2(beside)))
        return F.relu(torch.cat([self.conv3X3(x_BCHW), self.conv5X5_2(beside), far], dim=1))


class Head(nn.Module):
    """One linear layer at each place: `count` numbers an anchor."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.conv1x1 = nn.Conv2d(WIDTH, ANCHORS * count, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """[B, 256, h, w] -> [B, h * w * anchors, count]."""
        return self.conv1x1(x_BCHW).permute(0, 2, 3, 1).reshape(len(x_BCHW), -1, self.count)


def as_input(photo_HW3: NDArray[np.uint8]) -> Tensor:
    """RGB photo [H, W, 3] -> [1, 3, H, W] float32 on the CPU: blue, green, red, each less its mean."""
    bgr_3HW = np.ascontiguousarray(photo_HW3[..., ::-1].transpose(2, 0, 1), np.float32)
    return (torch.from_numpy(bgr_3HW) - torch.tensor(MEAN_BGR)[:, None, None])[None]


def _conv(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


def _onto(fine_BCHW: Tensor, coarse_BCHW: Tensor) -> Tensor:
    """To the exact size: the finer map is a row or column short of twice the coarser where sizes were rounded up."""
    return fine_BCHW + F.interpolate(coarse_BCHW, size=fine_BCHW.shape[-2:], mode="nearest")
