"""How much more an error counts in the head's box than elsewhere.

F frames, F' latent frames, H W height / width in pixels or latents.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def head_weights(boxes_F4: Tensor, size: Sequence[int], weight: float) -> Tensor:
    """Heads' boxes, in the units of `size` -> weights [F, H, W] of mean 1: `weight` in the box for 1 elsewhere."""
    height, width = size
    rows, columns = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    left, top, right, bottom = boxes_F4.float().T[..., None, None]
    inside = (columns > left) & (columns < right) & (rows > top) & (rows < bottom)
    weights = 1 + (weight - 1) * inside.float()
    return weights / weights.mean((1, 2), keepdim=True)


def latent_boxes(boxes_F4: Tensor, spatial: int, temporal: int) -> Tensor:
    """Boxes of a clip in pixels -> of its latents [F', 4]: around the head in all frames that a latent stands for.

    Args:
        boxes_F4: left, top, right, bottom of each frame.
        spatial: pixels a side of a latent.
        temporal: frames of a latent, but for the first, which has one.
    """
    first, rest = boxes_F4[:1], boxes_F4[1:].unflatten(0, (-1, temporal))
    around = torch.cat([rest[..., :2].amin(1), rest[..., 2:].amax(1)], dim=1)
    return torch.cat([first, around]).float() / spatial
