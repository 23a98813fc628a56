"""The avatar world as training samples: a clip, and six stills of the same person from elsewhere.

Stills are taken in other scenes than the clip, and never as its first frame: a reference that is the answer would teach
copying. They are chosen by pose among `CANDIDATES` (`views`), and cut out as the engine cuts photos out.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fantasyid_engine.face.conditioning import AVATAR_SCALE
from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.training.avatar.clips import Sample, World, draw_still, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.avatar.person import RIMS, Person
from fantasyid_engine.training.data.crops import tower_picture
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import write_shards
from fantasyid_engine.training.data.views import VIEWS, farthest_views

CANDIDATES = 24
DETECTOR_SIZE = 96
"""Pixels of the stills before the head is cut out."""
BOX_ERROR = 0.02
"""Of a detected head's box, as a share of its side; stills are cut out as unevenly."""
LARGEST_SHAPE = 2.2
"""Coefficients of people are drawn up to this."""
_STREAM = 5


def avatar_samples(
    world: World,
    count: int,
    *,
    size: int,
    view_size: int,
    crop_size: int,
    views: int = VIEWS,
    edited_share: float = 0.0,
    start: int = 0,
) -> Iterator[TrainingSample]:
    """Samples `start` to `start + count` of a world; each follows from the world and its number alone.

    Args:
        world: who does what.
        count: how many.
        start: the first one's number.
        size: of the clip in pixels.
        view_size: of the reference pictures, as the tower takes them.
        crop_size: what the engine cuts photos out to before that; see `RenderConfig`.
        views: reference pictures a clip.
        edited_share: of the clips, those that show the person in another shape than the reference pictures do, with
            `vertices` to match. Shape can be read off the photo: without such clips the mesh would be ignored.
    """
    for number in range(start, start + count):
        rng = np.random.default_rng([world.seed, _STREAM, number + 1])
        sample = world.sample(number)
        shown = _edited(sample.who, rng) if rng.random() < edited_share else sample.who
        stills = [draw_still(sample.target, sample.attributes, rng)[0] for _ in range(CANDIDATES)]
        poses = np.concatenate([still.motion.pose for still in stills])
        chosen = farthest_views(poses, views)
        clip = render_takes([replace(sample.target, person=shown)], size)
        yield TrainingSample(
            key=f"{world.split}-{world.seed}-{number:07d}",
            person=f"{world.split}-{world.seed}-{sample.person}",
            prompt=sample.prompt,
            frames=clip.pictures,
            boxes=clip.boxes,
            views=_views([stills[place] for place in chosen], crop_size, view_size, rng),
            view_poses=torch.from_numpy(poses[chosen]),
            vertices=torch.from_numpy(make_head().vertices(shown.shape.astype(np.float64))).float(),
            shape=torch.from_numpy(sample.who.shape),
            look=_look(sample),
        )


def build_avatar_shards(
    folder: Path,
    world: World,
    count: int,
    *,
    size: int,
    view_size: int,
    crop_size: int,
    views: int = VIEWS,
    edited_share: float = 0.0,
    on_sample: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes the first `count` samples as shards; arguments as for `avatar_samples`.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    sizes = {"size": size, "view_size": view_size, "crop_size": crop_size}
    made = avatar_samples(world, count, **sizes, views=views, edited_share=edited_share)
    about = {"world": {"seed": world.seed, "split": world.split, "people": world.people}, **sizes}
    return write_shards(folder, _counted(made, count, on_sample), about=about | {"edited_share": edited_share})


def _counted(
    samples: Iterator[TrainingSample], total: int, on_sample: Callable[[int, int], None]
) -> Iterator[TrainingSample]:
    for done, sample in enumerate(samples, 1):
        yield sample
        on_sample(done, total)


def _edited(who: Person, rng: np.random.Generator) -> Person:
    """The same person in another shape: one to three directions moved by up to the range that people have."""
    places = rng.choice(len(who.shape), rng.integers(1, 4), replace=False)
    shape = who.shape.copy()
    shape[places] += rng.uniform(-LARGEST_SHAPE, LARGEST_SHAPE, len(places))
    return replace(who, shape=np.clip(shape, -LARGEST_SHAPE, LARGEST_SHAPE).astype(np.float32))


def _views(stills: list[Take], crop_size: int, view_size: int, rng: np.random.Generator) -> Tensor:
    """[M, 3, S, S] uint8: heads cut out as `face.conditioning` cuts those of photos."""
    rendered = render_takes(stills, DETECTOR_SIZE)
    crops = []
    for picture, box in zip(rendered.pictures.permute(0, 2, 3, 1).numpy(), rendered.boxes.tolist(), strict=True):
        found = _as_detected(box, rng)
        crops.append(tower_picture(crop_head(picture, found, crop_size, scale=AVATAR_SCALE), view_size))
    return torch.stack(crops)


def _as_detected(box: list[float], rng: np.random.Generator) -> FaceBox:
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    left, top, right, bottom = np.array([left, top, right, bottom]) + rng.normal(0, BOX_ERROR * side, 4)
    return FaceBox(left, top, right - left, bottom - top, None)


def _look(sample: Sample) -> Tensor:
    """What a picture tells of who somebody is, besides shape: [k] float32, all of about one size.

    Colours of skin, eyes, hair and lips; brows; freckles, blush and lashes; style, beard and glasses as 0 or 1 each.
    """
    who = sample.who
    thickness, slope = who.brow
    numbers = [*who.skin, *who.eyes, *who.hair, *who.lips, 200 * thickness, 3 * slope]
    numbers += [who.freckles, who.blush, who.lashes]
    for names, mine in ((tuple(STYLES), who.style), (BEARDS, who.beard), (RIMS, who.glasses)):
        numbers += [float(name == mine) for name in names]
    return torch.tensor(numbers, dtype=torch.float32)
