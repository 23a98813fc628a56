"""Training of the observer's three networks: a head's pose and expression, a picture's scene, a clip's motion.

The third never sees pictures: it learns from paths of motion, with noise in place of the errors of the first.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fantasyid_engine.evaluation.observer import CLIP, FRAMES, PICTURE, SCALE, SIDE, Observer
from fantasyid_engine.evaluation.vocabulary import VALUES, Attributes
from fantasyid_engine.models.perception import as_input
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.motion import EXPRESSION, motion_path
from fantasyid_engine.training.avatar.perception.fit import BESIDE, Say, disturbed, fit, jittered, pick
from fantasyid_engine.training.avatar.perception.pictures import heads, one_frame
from fantasyid_engine.training.avatar.prompts import draw_attributes

FRAMES_EACH = 4
NOISE = 0.06


def train_observer(world: World, *, samples: int, motions: int, steps: int, batch: int, say: Say) -> Observer:
    """Trains on frames of `samples` samples, and on `motions` paths of motion."""
    rng = np.random.default_rng([world.seed, 4])
    takes, attributes = _takes(world, samples, rng)
    found = heads(takes)
    room = (SIDE + 2 * BESIDE) / SIDE
    crops = found.crops(SIDE + 2 * BESIDE, SCALE * room)
    numbers = torch.from_numpy(np.stack([_numbers(take)[0] for take in takes]))
    whole = F.interpolate(torch.from_numpy(found.pictures).permute(0, 3, 1, 2).float(), size=SIDE, mode="area")
    whole = whole.round().to(torch.uint8)
    scenes = torch.stack([classes(a, PICTURE) for a in attributes])

    say(f"observer: {len(crops)} pictures rendered")
    generator = torch.Generator().manual_seed(world.seed)
    torch.manual_seed(world.seed)
    network = Observer().train()

    def head_loss() -> Tensor:
        at = pick(len(crops), batch, generator)
        x = disturbed(jittered(as_input(crops[at]), generator), generator)
        return F.smooth_l1_loss(network.head(x), numbers[at], beta=0.1)

    def scene_loss() -> Tensor:
        at = pick(len(whole), batch, generator)
        return class_loss(network.picture(disturbed(as_input(whole[at]), generator)), scenes[at], PICTURE)

    paths, labels = motion_data(motions, rng)

    def clip_loss() -> Tensor:
        at = pick(len(paths), batch, generator)
        x = paths[at]
        off = torch.randn(len(x), 1, x.shape[2], generator=generator) + torch.randn(x.shape, generator=generator)
        return class_loss(
            network.clip(x + NOISE * off * torch.rand(len(x), 1, 1, generator=generator)), labels[at], CLIP
        )

    fit(network.head.parameters(), head_loss, steps=steps, lr=3e-3, say=say, name="observer, heads")
    fit(network.picture.parameters(), scene_loss, steps=steps, lr=3e-3, say=say, name="observer, scenes")
    fit(network.clip.parameters(), clip_loss, steps=steps, lr=3e-3, say=say, name="observer, motions")
    return network.eval()


def motion_data(count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Paths [count, 13, 9] and the places of motion and expression [count, 2]; some are of other lengths, stretched."""
    paths, labels = [], []
    for _ in range(count):
        attributes = draw_attributes(rng)
        frames = FRAMES if rng.random() < 0.6 else int(rng.integers(9, 18))
        motion = motion_path(attributes.motion, attributes.expression, frames, rng)
        path = torch.from_numpy(np.concatenate([motion.pose, motion.expression], axis=1))
        paths.append(F.interpolate(path.T[None], size=FRAMES, mode="linear", align_corners=True)[0].T)
        labels.append(classes(attributes, CLIP))
    return torch.stack(paths), torch.stack(labels)


def classes(attributes: Attributes, names: tuple[str, ...]) -> Tensor:
    """Places of the values of `names` in the vocabulary."""
    return torch.tensor([VALUES[name].index(getattr(attributes, name)) for name in names])


def class_loss(logits: Tensor, labels: Tensor, names: tuple[str, ...]) -> Tensor:
    """Sum over `names` of cross entropies; logits [B, values of all names], labels [B, names]."""
    parts = logits.split([len(VALUES[name]) for name in names], dim=1)
    losses = [F.cross_entropy(part, labels[:, place]) for place, part in enumerate(parts)]
    return torch.stack(losses).sum()


def _takes(world: World, samples: int, rng: np.random.Generator) -> tuple[list[Take], list[Attributes]]:
    """Some frames of each clip, and its reference; each with the attributes of its scene."""
    takes, attributes = [], []
    for index in range(samples):
        sample = world.sample(index)
        frames = rng.choice(world.num_frames, FRAMES_EACH, replace=False)
        takes += [*(blinking(one_frame(sample.target, int(frame)), rng) for frame in frames), sample.reference]
        attributes += [*[sample.attributes] * FRAMES_EACH, sample.reference_attributes]
    return takes, attributes


def blinking(take: Take, rng: np.random.Generator) -> Take:
    """A take with its eyes closed or half closed, three times in ten; in clips it is too rare to be learnt."""
    if rng.random() < 0.7:
        return take
    expression = take.motion.expression.copy()
    expression[:, EXPRESSION.index("blink")] = 1.0 if rng.random() < 0.6 else rng.random()
    return replace(take, motion=replace(take.motion, expression=expression))


def _numbers(take: Take) -> np.ndarray:
    return np.concatenate([take.motion.pose, take.motion.expression], axis=1)
