"""RetinaFace's anchors, what its answers mean in pixels, and which of them are faces.

    anchor     ((j + 0.5) s / W, (i + 0.5) s / H, m / W, m / H)      (cx, cy, w, h) at stride s, m pixels large
    box        centre = c + 0.1 l wh,   size = wh exp(0.2 l')        l, l': the four answers for it
    point      c + 0.1 l wh
    face       score > threshold, and no surer face shares more than 0.4 with it (intersection over union)

Anchors are of 16 and 32 pixels at stride 8, of 64 and 128 at 16, of 256 and 512 at 32, on grids of ceil(H / s) x
ceil(W / s); shares of the picture, in rows that go by stride, row, column, size. Boxes and points may lie outside it.

N anchors, H W size of the picture, K faces.
Source: Deng et al. 2020; facexlib 0.3.0.
"""

import math

import torch
from torch import Tensor

LEVELS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
"""Strides, and the sizes of the anchors there, in pixels."""
CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2
SAME = 0.4
"""Intersection over union above which two boxes are of one face."""


def priors(height: int, width: int) -> Tensor:
    """The anchors of a picture, [N, 4] float32 (cx, cy, w, h) in shares of its sides; computed in float64."""
    levels = []
    for stride, sizes in LEVELS:
        y_h = (torch.arange(math.ceil(height / stride), dtype=torch.float64) + 0.5) * stride / height
        x_w = (torch.arange(math.ceil(width / stride), dtype=torch.float64) + 0.5) * stride / width
        side_a = torch.tensor(sizes, dtype=torch.float64)
        y, x, side = torch.meshgrid(y_h, x_w, side_a, indexing="ij")
        levels.append(torch.stack([x, y, side / width, side / height], dim=-1).view(-1, 4))
    return torch.cat(levels).float()


def boxes_in_pixels(answer_N4: Tensor, prior_N4: Tensor, height: int, width: int) -> Tensor:
    """The network's boxes -> [N, 4] left, top, right, bottom."""
    centre_N2 = prior_N4[:, :2] + CENTRE_VARIANCE * answer_N4[:, :2] * prior_N4[:, 2:]
    size_N2 = prior_N4[:, 2:] * (SIZE_VARIANCE * answer_N4[:, 2:]).exp()
    first_N2 = centre_N2 - size_N2 / 2
    return torch.cat([first_N2, first_N2 + size_N2], dim=1) * answer_N4.new_tensor([width, height] * 2)


def points_in_pixels(answer_N10: Tensor, prior_N4: Tensor, height: int, width: int) -> Tensor:
    """The network's points -> [N, 5, 2] (x, y): left eye, right eye, nose, left and right corner of the mouth."""
    offset_N52 = CENTRE_VARIANCE * answer_N10.view(-1, 5, 2) * prior_N4[:, None, 2:]
    return (prior_N4[:, None, :2] + offset_N52) * answer_N10.new_tensor([width, height])


def select(box_N4: Tensor, score_N: Tensor, threshold: float) -> Tensor:
    """Which rows are faces, [K] int64, the surest first; of equal scores the one that comes first.

    Both comparisons are made in float32: a score of float32(0.97) is not above 0.97. Boxes that are not finite are no
    faces.
    """
    sure_N = (score_N > score_N.new_tensor(threshold)) & box_N4.isfinite().all(1)
    rest = sure_N.nonzero()[:, 0]
    rest = rest[score_N[rest].argsort(descending=True, stable=True)]
    kept = [rest[:0]]
    while len(rest):
        first, rest = rest[:1], rest[1:]
        kept.append(first)
        rest = rest[~(_overlap(box_N4[first], box_N4[rest]) > SAME)]
    return torch.cat(kept)


def _overlap(one_14: Tensor, other_K4: Tensor) -> Tensor:
    """Intersection over union of one box with others, [K]."""
    first_K2 = torch.maximum(one_14[:, :2], other_K4[:, :2])
    last_K2 = torch.minimum(one_14[:, 2:], other_K4[:, 2:])
    shared_K = (last_K2 - first_K2).clamp(min=0).prod(1)
    one_1, other_K = ((box[:, 2:] - box[:, :2]).prod(1) for box in (one_14, other_K4))
    return shared_K / (one_1 + other_K - shared_K)
