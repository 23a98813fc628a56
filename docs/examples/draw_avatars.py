"""Draws docs/avatars (people, clips with prompts, shape directions), `face.png` beside this, and the package's copy.

python docs/examples/draw_avatars.py
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fantasyid_engine.evaluation.vocabulary import Attributes
from fantasyid_engine.training.avatar.clips import World, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.head import SHAPE
from fantasyid_engine.training.avatar.motion import Motion
from fantasyid_engine.training.avatar.person import Person
from fantasyid_engine.training.avatar.scene import draw_scene

HERE = Path(__file__).parent
FOLDER = HERE.parent / "avatars"
EXAMPLE = HERE.parents[1] / "engine" / "face" / "avatar_example.png"
SIZE, SMALL, TEXT = 160, 112, 18
EXAMPLE_PERSON = 2


def people(world: World, columns: int = 8) -> Image.Image:
    """Every person's reference photo."""
    takes = [world.sample(number).reference for number in range(world.people)]
    return Image.fromarray(_grid(_photos(render_takes(takes, SIZE).pictures.numpy()), columns))


def clips(world: World, frames: slice = slice(None, None, 2)) -> Image.Image:
    """A row a clip: the reference, then every other frame; the prompt above."""
    samples = [world.sample(number) for number in range(world.people)]
    shown = [
        _grid(_photos(render_takes([sample.reference, sample.target], SMALL).pictures.numpy()), world.num_frames + 1)
        for sample in samples
    ]
    rows = [
        np.concatenate(
            [row[:, :SMALL], row[:, SMALL:].reshape(SMALL, -1, SMALL, 3)[:, frames].reshape(SMALL, -1, 3)], 1
        )
        for row in shown
    ]
    sheet = Image.new("RGB", (rows[0].shape[1], len(rows) * (SMALL + TEXT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (sample, row) in enumerate(zip(samples, rows, strict=True)):
        top = number * (SMALL + TEXT)
        draw.text((4, top + 1), sample.prompt, fill="black", font=font)
        sheet.paste(Image.fromarray(row), (0, top + TEXT))
    return sheet


def directions(world: World, far: float = 2.2) -> Image.Image:
    """A row each for less and more of a shape direction, a column each direction; the template's shape between."""
    who = world.person(0)
    sheet = Image.new("RGB", (len(SHAPE) // 2 * SMALL, 2 * (TEXT + 3 * SMALL)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, name in enumerate(SHAPE):
        shapes = [np.eye(len(SHAPE), dtype=np.float32)[number] * much for much in (-far, 0.0, far)]
        takes = [_from_the_front(replace(who, shape=shape), "neutral") for shape in shapes]
        column = _photos(render_takes(takes, SMALL).pictures.numpy()).reshape(-1, SMALL, 3)
        left, top = number % 8 * SMALL, number // 8 * (TEXT + 3 * SMALL)
        draw.text((left + 4, top + 1), name.replace("_", " "), fill="black", font=font)
        sheet.paste(Image.fromarray(column), (left, top + TEXT))
    return sheet


def example(size: int) -> Image.Image:
    """One person from the front, for trying the engine."""
    take = _from_the_front(World(seed=0, split="validation", people=60).person(EXAMPLE_PERSON), "smiling")
    return Image.fromarray(_photos(render_takes([take], size).pictures.numpy())[0])


def _from_the_front(who: Person, expression: str) -> Take:
    attributes = Attributes(
        motion="still",
        expression=expression,
        background="plain",
        colour="blue",
        light_from="front",
        light_colour="neutral",
    )
    smile = 0.3 if expression == "smiling" else 0.0
    motion = Motion(np.array([[0.12, 0.0, 0.0]], np.float32), np.array([[smile, 0, 0, 0, 0, 0]], np.float32))
    return Take(who, motion, draw_scene(attributes, np.random.default_rng(5)))


def _photos(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return pictures.transpose(0, 2, 3, 1)


def _grid(pictures: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    rows = [np.concatenate(list(pictures[at : at + columns]), axis=1) for at in range(0, len(pictures), columns)]
    return np.concatenate(rows)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    example(384).save(HERE / "face.png", optimize=True)
    example(96).save(EXAMPLE, optimize=True)
    people(World(seed=0, split="test", people=48)).save(FOLDER / "people.jpg", quality=90)
    directions(World(seed=0, split="validation", people=60)).save(FOLDER / "shape.jpg", quality=88)
    clips(World(seed=1, split="test", people=12)).save(FOLDER / "clips.jpg", quality=88)
