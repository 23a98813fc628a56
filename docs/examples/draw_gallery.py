"""Draws docs/gallery with avatar-mini as it is in the package: people of the test split, whom it has not met.

python docs/examples/draw_gallery.py

README.md    the page that shows them          people.gif, people.jpg   one prompt a person
demo.gif     what `make demo` makes            prompts.jpg              one person, many prompts
demo.jpg     its photo and frames              shape.jpg                one person, one seed, other shapes
"""

from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fantasyid_engine import Engine, VideoRequest
from fantasyid_engine.training.avatar.clips import World, render_takes
from fantasyid_engine.weights.shipped import MODELS

HERE = Path(__file__).parent
FOLDER = HERE.parent / "gallery"
SIDE, TEXT, EVERY = 128, 20, 2
PROMPT, SEED = "the person turns the head to the left and smiles", 7
"""Of the Makefile's demo."""
PEOPLE, ONE = 12, 3
PROMPTS = (
    "a person nods, happy, on blue stripes",
    "the person looks around, surprised, on a plain orange wall, warm light from the left",
    "someone smiles, before a purple gradient, lit from the right",
    "a person tilts the head, with a frown, on green dots, cool light from above",
    "someone talks, on a grey wall, golden light from the right",
    "the person blinks, calm, on pink stripes, light from the left",
)
SHAPES = (
    {},
    *({name: much} for name in ("face_width", "jaw", "nose_length", "eye_size", "head_height") for much in (-2.0, 2.0)),
)

PAGE = """# What avatar-mini draws

By `python docs/examples/draw_gallery.py`, on a CPU, with the weights whose DiT has the SHA-256 `{weights}`.
Nothing is picked out: people are the first {people} of the test split, whom no training has seen.
How good this is, in figures: [the report](../../training/runs/avatar-mini/report/report.md).

## `make demo`

`{prompt}`

![photo, then the clip](demo.gif)

![photo, then every other frame](demo.jpg)

## People

A clip each, by the photo at the left and the prompt above it.

![clips](people.gif)

![photo, then every other frame, for each person](people.jpg)

## One person, other prompts

![photo, then every other frame, for each prompt](prompts.jpg)

## One photo, other shapes

The first frame, with `--shape` as above each picture: standard deviations from what is read off the photo.

![one picture a setting](shape.jpg)
"""

Picture = NDArray[np.uint8]


def photo_of(world: World, number: int) -> bytes:
    """The reference photo of a sample, 192 pixels, as a PNG."""
    picture = render_takes([world.sample(number).reference], 192).pictures[0].permute(1, 2, 0).numpy()
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def large(picture: Picture) -> Image.Image:
    """A picture of any size at the gallery's."""
    return Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def row(photo: bytes, frames: Picture, words: str) -> Image.Image:
    """Words above the photo and every other frame."""
    shown = [Image.open(BytesIO(photo)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)]
    shown += [large(frame) for frame in frames[::EVERY]]
    sheet = Image.new("RGB", (SIDE * len(shown) + 8, SIDE + TEXT), "white")
    ImageDraw.Draw(sheet).text((4, 2), words, fill="black", font=ImageFont.load_default(13))
    for place, picture in enumerate(shown):
        sheet.paste(picture, (place * SIDE + (8 if place else 0), TEXT))
    return sheet


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other."""
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    top = 0
    for picture in rows:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def moving(path: Path, clips: Sequence[Sequence[Image.Image]], columns: int, fps: int) -> None:
    """Clips of pictures of one size side by side as an animated GIF, which rests on its last frame."""
    width, height = clips[0][0].size
    sheets = []
    for pictures in zip(*clips, strict=True):
        sheet = Image.new("RGB", (columns * width, -(-len(clips) // columns) * height), "white")
        for place, picture in enumerate(pictures):
            sheet.paste(picture, (place % columns * width, place // columns * height))
        sheets.append(sheet)
    palette = sheets[0].quantize(256, method=Image.Quantize.MEDIANCUT)
    indexed = [sheet.quantize(palette=palette, dither=Image.Dither.NONE) for sheet in sheets]
    times = [1000 // fps] * (len(indexed) - 1) + [900]
    indexed[0].save(path, save_all=True, append_images=indexed[1:], duration=times, loop=0, optimize=True)


def draw(engine: Engine) -> None:
    """All pictures of the gallery, and its page."""
    fps, face = engine.model.render.fps, (HERE / "face.png").read_bytes()
    frames = engine.generate(VideoRequest(image=face, prompt=PROMPT, seed=SEED)).frames
    demo = [large(frame) for frame in frames]
    photo = Image.open(BytesIO(face)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    moving(FOLDER / "demo.gif", [[photo] * len(demo), demo], 2, fps)
    row(face, frames, PROMPT).save(FOLDER / "demo.jpg", quality=90)

    world = World(seed=0, split="test", people=PEOPLE)
    rows, clips = [], []
    for number in range(PEOPLE):
        photo, prompt = photo_of(world, number), world.sample(number).prompt
        frames = engine.generate(VideoRequest(image=photo, prompt=prompt, seed=number)).frames
        rows.append(row(photo, frames, prompt))
        clips.append([large(frame) for frame in frames])
    stacked(rows).save(FOLDER / "people.jpg", quality=88)
    moving(FOLDER / "people.gif", clips, 6, fps)

    one = photo_of(world, ONE)
    said = [engine.generate(VideoRequest(image=one, prompt=prompt, seed=1)).frames for prompt in PROMPTS]
    stacked([row(one, made, prompt) for made, prompt in zip(said, PROMPTS, strict=True)]).save(
        FOLDER / "prompts.jpg", quality=88
    )

    still = "a person keeps still, on a plain grey wall, light from the front"
    shapes = []
    for change in SHAPES:
        frames = engine.generate(VideoRequest(image=one, prompt=still, seed=1, shape=change)).frames
        words = ", ".join(f"{name} {much:+g}" for name, much in change.items()) or "as in the photo"
        shapes.append((words, large(frames[0])))
    sheet = Image.new("RGB", (len(shapes) * SIDE, SIDE + TEXT), "white")
    for place, (words, picture) in enumerate(shapes):
        ImageDraw.Draw(sheet).text((place * SIDE + 4, 2), words, fill="black", font=ImageFont.load_default(13))
        sheet.paste(picture, (place * SIDE, TEXT))
    sheet.save(FOLDER / "shape.jpg", quality=88)
    weights = sha256((MODELS / "avatar-mini" / "dit.safetensors").read_bytes()).hexdigest()[:16]
    (FOLDER / "README.md").write_text(PAGE.format(weights=weights, people=PEOPLE, prompt=PROMPT))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    with Engine.from_preset("avatar-mini") as mini:
        draw(mini)
