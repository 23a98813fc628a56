"""What the networks learn from: renders of people with what is known of them.

N pictures, S side in pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.avatar.brushes import blurred, draw_clouds, photographed
from fantasyid_engine.training.avatar.clips import Sample, World, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.motion import Motion
from fantasyid_engine.training.avatar.no_faces import draw_no_face

SIZE = 96
Pictures = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """Pictures [N, S, S, 3] and the one head in each."""

    pictures: Pictures
    boxes: list[FaceBox]

    def crops(self, size: int, scale: float) -> Tensor:
        """The heads, [N, 3, size, size] uint8."""
        cut = [
            crop_head(picture, box, size, scale=scale) for picture, box in zip(self.pictures, self.boxes, strict=True)
        ]
        return torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).contiguous()


def heads(takes: Sequence[Take], size: int = SIZE) -> Heads:
    """Every frame of `takes` with its head's box."""
    rendered = render_takes(takes, size)
    boxes = [FaceBox(x0, y0, x1 - x0, y1 - y0, None) for x0, y0, x1, y1 in rendered.boxes.tolist()]
    return Heads(rendered.pictures.permute(0, 2, 3, 1).contiguous().numpy(), boxes)


def one_frame(take: Take, number: int) -> Take:
    """A take of frame `number` alone."""
    motion = Motion(take.motion.pose[number][None], take.motion.expression[number][None])
    return Take(take.person, motion, take.scene)


def views(sample: Sample, rng: np.random.Generator) -> tuple[Take, Take]:
    """Two single frames of a sample's person, in two scenes: one of the clip, and the reference."""
    return one_frame(sample.target, int(rng.integers(len(sample.target.motion.pose)))), sample.reference


def faces_of(world: World, samples: int) -> tuple[Heads, Tensor]:
    """Two frames of each of the first `samples` samples, and whose they are [N]."""
    rng = np.random.default_rng([world.seed, 1])
    taken = [world.sample(index) for index in range(samples)]
    people = torch.tensor([sample.person for sample in taken]).repeat_interleave(2)
    return heads([take for sample in taken for take in views(sample, rng)]), people


def elsewhere(take: Take, rng: np.random.Generator) -> Take:
    """The same from another distance, with the head anywhere in the picture."""
    zoom = float(np.exp(rng.uniform(np.log(0.33), np.log(1.2))))
    room = max(0.06, 0.46 - 0.34 * zoom)
    shift = float(rng.uniform(-room, room)), float(rng.uniform(-room, room))
    return replace(take, scene=replace(take.scene, zoom=zoom, shift=shift))


def nearby(take: Take, rng: np.random.Generator) -> Take:
    """The same from so far that two fit beside each other."""
    scene = replace(take.scene, zoom=float(rng.uniform(0.38, 0.62)), shift=(0.0, float(rng.uniform(-0.2, 0.2))))
    return replace(take, scene=scene)


def side_by_side(single: Heads) -> list[tuple[Pictures, list[FaceBox]]]:
    """Pictures of two people, [N / 2]: the middle half of one beside the middle half of the next."""
    quarter = single.pictures.shape[2] // 4
    middles = single.pictures[:, :, quarter : 3 * quarter]
    made = []
    for i in range(0, len(middles) - 1, 2):
        left, right = (
            replace(single.boxes[i + k], left=single.boxes[i + k].left + shift * quarter)
            for k, shift in ((0, -1), (1, 1))
        )
        made.append((np.concatenate([middles[i], middles[i + 1]], axis=1), [left, right]))
    return made


def shuffled(picture: Pictures, rng: np.random.Generator, tiles: int = 4) -> Pictures:
    """A picture cut into tiles that are put together in another order: features of a face, but no face."""
    side = len(picture) // tiles
    cut = (
        picture[: side * tiles, : side * tiles]
        .reshape(tiles, side, tiles, side, 3)
        .swapaxes(1, 2)
        .reshape(-1, side, side, 3)
    )
    mixed = cut[rng.permutation(len(cut))].reshape(tiles, tiles, side, side, 3)
    return mixed.swapaxes(1, 2).reshape(side * tiles, side * tiles, 3)


def like_a_photo(picture: Pictures, rng: np.random.Generator) -> Pictures:
    """A picture as a photograph of somebody real might be: surfaces have texture, tones are muted, light is uneven."""
    size, values = len(picture), picture.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + rng.uniform(0.0, 0.7) * (values - grey) * np.array([1.0, rng.uniform(0.6, 1), rng.uniform(0.4, 1)])
    for roughness in (0.6, 1.0, 1.6):
        values = values * (1 + rng.uniform(0.05, 0.16) * draw_clouds(rng, size, roughness)[..., None])
    values = 128 + rng.uniform(0.5, 1.1) * (values - 128) + rng.uniform(-35, 25)
    return photographed(blurred(np.clip(values, 0, 255).astype(np.float32), rng.uniform(0.2, 0.8)), rng)


def without_faces(count: int, seed: int, size: int = SIZE) -> Pictures:
    """Pictures that show no avatar [count, S, S, 3]."""
    rng = np.random.default_rng([seed, 2])
    return np.stack([draw_no_face(rng, size) for _ in range(count)])
