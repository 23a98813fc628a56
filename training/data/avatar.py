"""The avatar world as training samples: a clip, and six stills of the same person from elsewhere.

Stills are taken in other scenes than the clip, and never as its first frame: a reference that is the answer would teach
copying. They are chosen by pose among four times as many (`views`), and cut out as the engine cuts photos out.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fantasyid_engine.face.crop import crop_head
from fantasyid_engine.face.detect import FaceBox
from fantasyid_engine.face.locate import AVATAR_SCALE
from fantasyid_engine.training.avatar.clips import SPLITS, World, draw_still, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.head import make_head
from fantasyid_engine.training.avatar.person import RIMS, Person
from fantasyid_engine.training.avatar.render import Rendered
from fantasyid_engine.training.data.crops import tower_picture
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import write_shards
from fantasyid_engine.training.data.views import VIEWS, farthest_views

CANDIDATES = 4
"""Stills drawn for one that is chosen; only the chosen are rendered."""
FINER = 1.5
"""Side of a still in sides of the crop, so that crops are as sharp as those of larger photos."""
BOX_ERROR = 0.025
"""Deviation of the edges of a detected head's box, as a share of its side; stills are cut out as unevenly.

Of `face.avatar` on 60 stills it is 0.02 to 0.03, at 64 pixels as at 256.
"""
LARGEST_SHAPE = 2.2
"""Coefficients of people are drawn up to this."""
BATCH = 16
"""Samples rendered together."""
_STILLS, _EDIT = 2, 3
"""Streams of draws; `World` has 0 and 1. With one for edits, these change nothing else."""


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
    device: torch.device | str = "cpu",
    on_sample: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[TrainingSample]:
    """Samples `start` to `start + count` of a world; each follows from the world and its number alone.

    Args:
        world: who does what.
        count: how many.
        size: of the clip in pixels.
        view_size: of the reference pictures, as the tower takes them.
        crop_size: what the engine cuts photos out to before that; see `RenderConfig`.
        views: reference pictures a clip.
        edited_share: of the clips, those that show the person in another shape than the reference pictures do, with
            `vertices` to match. Shape can be read off the photo: without such clips the mesh would be ignored. The
            sample's `shape` is always that of the pictures.
        start: the first one's number.
        device: where to render; samples are on the CPU.
        on_sample: hears of the number done and of all.
    """
    for first in range(start, start + count, BATCH):
        numbers = range(first, min(first + BATCH, start + count))
        plans = [_plan(world, number, views, edited_share) for number in numbers]
        clips = _rendered([[plan.clip] for plan in plans], size, device)
        stills = _rendered([plan.stills for plan in plans], round(FINER * crop_size), device)
        for done, (plan, clip, seen) in enumerate(zip(plans, clips, stills, strict=True), first - start + 1):
            yield TrainingSample(
                key=plan.key,
                person=plan.person,
                prompt=plan.prompt,
                frames=clip.pictures,
                boxes=clip.boxes,
                views=_views(seen, crop_size, view_size, plan.rng),
                view_poses=torch.from_numpy(np.concatenate([still.motion.pose for still in plan.stills])),
                vertices=torch.from_numpy(make_head().vertices(plan.clip.person.shape.astype(np.float64))).float(),
                shape=torch.from_numpy(plan.who.shape),
                look=_look(plan.who),
                motion=torch.from_numpy(np.concatenate([plan.clip.motion.pose, plan.clip.motion.expression], axis=1)),
            )
            on_sample(done, count)


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
    start: int = 0,
    device: torch.device | str = "cpu",
    on_sample: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes `count` samples as shards; arguments as for `avatar_samples`.

    Raises:
        OutputError: the folder exists and is not empty, or cannot be written.
    """
    how = {"size": size, "view_size": view_size, "crop_size": crop_size, "views": views, "edited_share": edited_share}
    made = avatar_samples(world, count, **how, start=start, device=device, on_sample=on_sample)
    return write_shards(folder, made, about={"world": asdict(world), **how, "start": start})


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """A sample before it is rendered: `clip` shows `who` or, edited, somebody of another shape; `stills` show `who`."""

    key: str
    person: str
    prompt: str
    who: Person
    clip: Take
    stills: list[Take]
    rng: np.random.Generator


def _plan(world: World, number: int, views: int, edited_share: float) -> _Plan:
    seed = world.seed, SPLITS.index(world.split)
    rng, edit = (np.random.default_rng([*seed, stream, number + 1]) for stream in (_STILLS, _EDIT))
    sample = world.sample(number)
    shown = _edited(sample.who, edit) if edit.random() < edited_share else sample.who
    drawn = [draw_still(sample.target, sample.attributes, rng)[0] for _ in range(CANDIDATES * views)]
    chosen = farthest_views(np.concatenate([still.motion.pose for still in drawn]), views)
    return _Plan(
        key=f"{world.split}-{world.seed}-{number:07d}",
        person=f"{world.split}-{world.seed}-{sample.person}",
        prompt=sample.prompt,
        who=sample.who,
        clip=replace(sample.target, person=shown),
        stills=[drawn[place] for place in chosen],
        rng=rng,
    )


def _rendered(takes: list[list[Take]], size: int, device: torch.device | str) -> Iterator[Rendered]:
    """What belongs to each list of takes, rendered all at once."""
    made = render_takes([take for some in takes for take in some], size, device=device)
    counts = [sum(len(take.motion.pose) for take in some) for some in takes]
    for pictures, boxes in zip(made.pictures.cpu().split(counts), made.boxes.cpu().split(counts), strict=True):
        yield Rendered(pictures, boxes)


def _edited(who: Person, rng: np.random.Generator) -> Person:
    """The same person in another shape: one to three directions moved by up to the range that people have."""
    places = rng.choice(len(who.shape), rng.integers(1, 4), replace=False)
    shape = who.shape.copy()
    shape[places] += rng.uniform(-LARGEST_SHAPE, LARGEST_SHAPE, len(places))
    return replace(who, shape=np.clip(shape, -LARGEST_SHAPE, LARGEST_SHAPE).astype(np.float32))


def _views(stills: Rendered, crop_size: int, view_size: int, rng: np.random.Generator) -> Tensor:
    """[M, 3, S, S] uint8: heads cut out as `face.conditioning` cuts those of photos."""
    crops = []
    for picture, box in zip(stills.pictures.permute(0, 2, 3, 1).numpy(), stills.boxes.tolist(), strict=True):
        crop = crop_head(picture, _as_detected(box, rng), crop_size, scale=AVATAR_SCALE)
        crops.append(tower_picture(crop, view_size))
    return torch.stack(crops)


def _as_detected(box: list[float], rng: np.random.Generator) -> FaceBox:
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    left, top, right, bottom = np.array([left, top, right, bottom]) + rng.normal(0, BOX_ERROR * side, 4)
    return FaceBox(left, top, right - left, bottom - top, None)


def _look(who: Person) -> Tensor:
    """What a picture tells of who somebody is, besides shape: [k] float32, all of about one size.

    Colours of skin, eyes, hair and lips; brows; freckles, blush and lashes; style, beard and glasses as 0 or 1 each.
    """
    thickness, slope = who.brow
    numbers = [*who.skin, *who.eyes, *who.hair, *who.lips, 200 * thickness, 3 * slope]
    numbers += [who.freckles, who.blush, who.lashes]
    for names, mine in ((tuple(STYLES), who.style), (BEARDS, who.beard), (RIMS, who.glasses)):
        numbers += [float(name == mine) for name in names]
    return torch.tensor(numbers, dtype=torch.float32)
