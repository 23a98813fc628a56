"""Draws docs/avatars (people, and clips with their prompts), `face.png` beside this file, and the package's example.

python docs/examples/draw_avatars.py
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fantasyid_engine.evaluation.vocabulary import Attributes
from fantasyid_engine.training.avatar.clips import World, render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.motion import Motion
from fantasyid_engine.training.avatar.scene import draw_scene

HERE = Path(__file__).parent
FOLDER = HERE.parent / "avatars"
EXAMPLE = HERE.parents[1] / "engine" / "face" / "avatar_example.png"
SIZE, SMALL, TEXT = 160, 112, 18


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


def example(size: int) -> Image.Image:
    """One person from the front, for trying the engine."""
    attributes = Attributes(
        motion="still",
        expression="smiling",
        background="plain",
        colour="blue",
        light_from="front",
        light_colour="neutral",
    )
    world, rng = World(seed=0, split="validation", people=60), np.random.default_rng(5)
    motion = Motion(np.array([[0.12, 0.0, 0.0]], np.float32), np.array([[0.3, 0, 0, 0, 0, 0]], np.float32))
    take = Take(world.person(3), motion, draw_scene(attributes, rng))
    return Image.fromarray(_photos(render_takes([take], size).pictures.numpy())[0])


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
    clips(World(seed=1, split="test", people=12)).save(FOLDER / "clips.jpg", quality=88)
