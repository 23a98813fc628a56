"""Which triangle is seen at which pixel: a z-buffer over all triangles of a batch at once, on any device.

A triangle's pixels in one row lie between half planes (its three edges, and the line along which it is cut), so spans
are found row by row and only pixels inside are ever made. What is nearest wins by an integer maximum over
(depth, triangle), which is the same on any device and in any order.

B frames, V vertices, T triangles, N triangles that face the camera, R their rows, Q pixels of those rows, P pixels that
show a triangle. Small dimensions come first: long ones last are what a CPU adds up quickly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

TRIANGLE_BITS = 13


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What is seen: one entry a covered pixel.

    pixel     [P] frame * size^2 + row * size + column, rising
    frame     [P]
    triangle  [P]
    weights   [3, P] of the triangle's corners, adding up to one, true in space (perspective is undone)
    """

    pixel: Tensor
    frame: Tensor
    triangle: Tensor
    weights: Tensor


def rasterise(points_B3V: Tensor, cut_BV: Tensor, faces_T3: Tensor, two_sided_T: Tensor, size: int) -> Fragments:
    """The nearest triangle at the centre of every pixel.

    Args:
        points_B3V: column and row in pixels, and the inverse of the distance to the camera (> 0).
        cut_BV: a triangle exists where this, interpolated, is positive.
        faces_T3: int64 corners; those of a triangle that is seen turn left on a page, where rows go up.
        two_sided_T: which triangles are seen from behind too.
        size: rows and columns of the picture.
    """
    batch, triangles = len(points_B3V), len(faces_T3)
    if triangles >= 1 << TRIANGLE_BITS:
        raise ValueError(f"rasterise: {triangles} triangles; at most {(1 << TRIANGLE_BITS) - 1}")
    corners_T = faces_T3.T.reshape(-1)
    values = torch.cat((points_B3V, cut_BV[:, None]), dim=1)
    values = values.index_select(2, corners_T).view(batch, 4, 3, triangles).permute(1, 2, 0, 3)  # [4, 3, B, T]
    x, y, _, cut = values

    # Twice the area, negative for triangles that face the camera, as rows go down.
    area_BT = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
    top_BT = (y.amin(0) - 0.5).ceil_().clamp_(min=0)
    bottom_BT = (y.amax(0) - 0.5).floor_().clamp_(max=size - 1)
    seen_BT = ((area_BT < -1e-6) | (two_sided_T & (area_BT > 1e-6))) & (bottom_BT >= top_BT) & (cut.amax(0) > 0)
    number_N = seen_BT.view(-1).nonzero()[:, 0]
    x, y, near, cut = values.flatten(2).index_select(2, number_N)

    # Weight of each corner as a plane over the screen: a * column + b * row + c, and so for depth and cut.
    inverse_N = 1 / area_BT.view(-1)[number_N]
    xn, yn, xp, yp = x[[1, 2, 0]], y[[1, 2, 0]], x[[2, 0, 1]], y[[2, 0, 1]]
    planes = torch.stack((yn - yp, xp - xn, xn * yp - xp * yn)) * inverse_N  # [3 coefficients, 3 corners, N]
    depth, edge = (planes * near).sum(1, keepdim=True), (planes * (near * cut)).sum(1, keepdim=True)
    planes = torch.cat((planes, edge, depth), dim=1).flatten(0, 1)  # [3 x 5, N]

    frame_N, triangle_N = number_N // triangles, number_N % triangles
    top_N = top_BT.view(-1)[number_N]
    of_R, step_R = _spread((bottom_BT.view(-1)[number_N] - top_N).long() + 1)
    row_R = top_N[of_R] + step_R
    slope_5R, start_5R, constant_5R = planes.index_select(1, of_R).view(3, 5, -1)
    start_5R = torch.addcmul(constant_5R, start_5R, (row_R + 0.5)[None])
    slope, start = slope_5R[:4], start_5R[:4]
    bound = -start / slope
    left_R = torch.where(slope > 0, bound, -torch.inf).amax(0)
    right_R = torch.where(slope < 0, bound, torch.inf).amin(0)
    empty_R = ((slope == 0) & (start < 0)).any(0)
    first_R = (left_R - 0.5).ceil_().clamp_(0, size)
    count_R = ((right_R - 0.5).floor_().clamp_(-1, size - 1) - first_R + 1).clamp_(min=0).masked_fill_(empty_R, 0)

    of_Q, step_Q = _spread(count_R.long())
    start_R = torch.addcmul(start_5R[4], slope_5R[4], first_R + 0.5)
    depth_Q, slope_Q = torch.stack((start_R, slope_5R[4])).index_select(1, of_Q)
    depth_Q = torch.addcmul(depth_Q, slope_Q, step_Q.float()).clamp_(min=1e-9)
    # The bits of positive floats are ordered as the floats are.
    key_Q = (depth_Q.view(torch.int32).long() << TRIANGLE_BITS).bitwise_or_(triangle_N[of_R].index_select(0, of_Q))
    begin_R = (frame_N * (size * size))[of_R] + (row_R * size + first_R).long()
    nearest = torch.zeros(batch * size * size, dtype=torch.int64, device=points_B3V.device)
    nearest.scatter_reduce_(0, begin_R.index_select(0, of_Q).add_(step_Q), key_Q, "amax")

    pixel_P = nearest.nonzero()[:, 0]
    triangle_P = nearest[pixel_P] & ((1 << TRIANGLE_BITS) - 1)
    frame_P, at_P = pixel_P // (size * size), pixel_P % (size * size)
    place = torch.empty(batch * triangles, dtype=torch.int64, device=points_B3V.device)
    place[number_N] = torch.arange(len(number_N), device=points_B3V.device)
    n_P = place[frame_P * triangles + triangle_P]
    a, b, c = planes.view(3, 5, -1)[:, :3].flatten(0, 1).index_select(1, n_P).view(3, 3, -1)
    weights_3P = (a * (at_P % size + 0.5) + b * (at_P // size + 0.5) + c).clamp_(0, 1) * near.index_select(1, n_P)
    return Fragments(pixel_P, frame_P, triangle_P, weights_3P / weights_3P.sum(0))


def _spread(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Counts [N] -> for each of their sum entries: whose it is, and its number among them."""
    of = torch.repeat_interleave(counts)
    begin = counts.cumsum(0) - counts
    return of, torch.arange(len(of), device=counts.device).sub_(begin.index_select(0, of))
