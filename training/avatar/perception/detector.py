"""Training of the head detector: people at all distances, pairs of them, and pictures that show nobody."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.models.perception import HeadFinder, as_input
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.perception.fit import Say, disturbed, fit, pick
from fantasyid_engine.training.avatar.perception.pictures import (
    SIZE,
    Pictures,
    elsewhere,
    faces_of,
    heads,
    like_a_photo,
    nearby,
    shuffled,
    side_by_side,
    views,
    without_faces,
)

MOST_HEADS = 2


def train_detector(world: World, *, samples: int, steps: int, batch: int, say: Say) -> HeadFinder:
    """Trains on `samples` of each kind: near, elsewhere, in pairs; as many without anybody as with."""
    pictures, boxes_NK4 = detector_data(world, samples)
    say(f"detector: {len(pictures)} pictures rendered and drawn")
    generator = torch.Generator().manual_seed(world.seed)
    torch.manual_seed(world.seed)
    network = HeadFinder().train()

    def loss() -> Tensor:
        at = pick(len(pictures), batch, generator)
        x, boxes = as_input(pictures[at]), boxes_NK4[at]
        if torch.rand((), generator=generator) < 0.5:  # mirrored
            boxes = torch.stack([SIZE - boxes[..., 2], boxes[..., 1], SIZE - boxes[..., 0], boxes[..., 3]], dim=-1)
            x = x.flip(-1)
        logits, guesses = network(disturbed(x, generator))
        return detection_loss(logits, guesses, boxes)

    fit(network.parameters(), loss, steps=steps, lr=3e-3, say=say, name="detector")
    return network.eval()


def detector_data(world: World, samples: int) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, 96, 96] uint8 and heads [N, 2, 4] (left, top, right, bottom; NaN for none)."""
    rng = np.random.default_rng([world.seed, 3])
    near, _ = faces_of(world, samples // 2)
    takes = [take for index in range(samples) for take in views(world.sample(index), rng)]
    far = heads([elsewhere(take, rng) for take in takes])
    pairs = heads([nearby(take, rng) for take in takes[:samples]])
    rows: list[tuple[Pictures, Sequence[FaceBox]]] = [
        *((picture, [box]) for found in (near, far) for picture, box in zip(found.pictures, found.boxes, strict=True)),
        *side_by_side(pairs),
    ]
    nobody = [
        *without_faces(len(rows), world.seed),
        *(shuffled(picture, rng) for picture in near.pictures[: samples // 2]),
        *(like_a_photo(picture, rng) for picture in (*near.pictures[::2], *far.pictures[::2])),
    ]
    rows += [(picture, []) for picture in nobody]
    pictures = torch.from_numpy(np.stack([picture for picture, _ in rows])).permute(0, 3, 1, 2).contiguous()
    boxes = torch.full((len(rows), MOST_HEADS, 4), float("nan"))
    for row, (_, found) in enumerate(rows):
        for place, box in enumerate(found):
            boxes[row, place] = torch.tensor([box.left, box.top, box.left + box.width, box.top + box.height])
    return pictures, boxes


def detection_loss(logits: Tensor, guesses: Tensor, boxes_NK4: Tensor) -> Tensor:
    """Focal loss of the middles (Gaussian around them), and 1 - IoU of the boxes guessed in the middles' cells."""
    rows, columns = logits.shape[1:]
    stride = HeadFinder.STRIDE
    there = ~boxes_NK4[..., 0].isnan()
    boxes = boxes_NK4.nan_to_num(-1000.0)
    middle = torch.stack([boxes[..., 0] + boxes[..., 2], boxes[..., 1] + boxes[..., 3]], dim=-1) / 2 / stride
    x, y = torch.arange(columns) + 0.5, torch.arange(rows) + 0.5
    apart = (x - middle[..., 0, None])[:, :, None] ** 2 + ((y - middle[..., 1, None]) ** 2)[..., None]
    heat = torch.exp(-apart / (2 * 0.8**2)).amax(1)
    picture, place = there.nonzero(as_tuple=True)
    column, row = middle[picture, place].floor().long().unbind(-1)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    picture, place, column, row = picture[inside], place[inside], column[inside], row[inside]
    heat[picture, row, column] = 1
    sure = logits.sigmoid()
    hit = heat == 1
    focal = F.binary_cross_entropy_with_logits(logits, hit.float(), reduction="none")
    focal = focal * torch.where(hit, (1 - sure) ** 2, sure**2 * (1 - heat) ** 4)
    guess, truth = guesses[picture, :, row, column], boxes[picture, place]
    return focal.sum() / len(logits) + 2 * (1 - iou(guess, truth)).mean() + 0.05 * (guess - truth).abs().mean()


def iou(one: Tensor, other: Tensor) -> Tensor:
    """Intersection over union of boxes [N, 4]."""
    wide = torch.minimum(one[:, 2:], other[:, 2:]) - torch.maximum(one[:, :2], other[:, :2])
    shared = wide.clamp(min=0).prod(1)
    return shared / ((one[:, 2:] - one[:, :2]).prod(1) + (other[:, 2:] - other[:, :2]).prod(1) - shared)
