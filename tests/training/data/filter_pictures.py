"""Sampled frames of clips with and without subtitles, drawn: avatars that move, and still pictures of other things.

A subtitle has one or two lines of made-up words at the bottom or, seldom, at the top, in white or yellow, with an
outline, on a box, or bare; it changes in the middle of the clip, and of some clips it is there for half only. All
frames go through JPEG.
"""

from dataclasses import dataclass
from functools import cache
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fantasyid_engine.training.avatar.brushes import any_words, font_of
from fantasyid_engine.training.avatar.clips import World, render_clips
from fantasyid_engine.training.avatar.no_faces import KINDS, no_face

Frames = NDArray[np.uint8]
SIZE, SAMPLED = 256, 8
STYLES = ("outline", "box", "bare")
STILL = tuple(kind for kind in KINDS if kind != "text")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Frames [8, 256, 256, 3] of `what` was drawn; `style` of its subtitle, None without one."""

    what: str
    style: str | None
    frames: Frames


@cache
def cases(seed: int, avatars: int, stills: int) -> tuple[Case, ...]:
    """So many clips of either kind, each once without and once with a subtitle."""
    rng = np.random.default_rng([seed, 1])
    world = World(seed=seed, split="validation", people=avatars, num_frames=SAMPLED)
    pictures = render_clips([world.sample(i) for i in range(avatars)], SIZE // 2).permute(0, 1, 3, 4, 2).numpy()
    clips = [("avatar", np.stack([_enlarged(frame) for frame in clip])) for clip in pictures]
    for i in range(stills):
        kind = STILL[i % len(STILL)]
        clips.append((kind, np.repeat(no_face(kind, rng, SIZE)[None], SAMPLED, axis=0)))
    made = []
    for i, (what, frames) in enumerate(clips):
        style = STYLES[i % 3]
        quality = int(rng.integers(55, 90))
        made.append(Case(what, None, _as_jpeg(frames, quality)))
        made.append(Case(what, style, _as_jpeg(subtitled(frames, style, rng), quality)))
    return tuple(made)


def moving_signs(seed: int, count: int) -> list[Frames]:
    """Still pictures with three signs, which a camera passes [8, 256, 256, 3]: no text is in one place for long."""
    rng = np.random.default_rng([seed, 2])
    made = []
    for i in range(count):
        image = Image.fromarray(no_face(STILL[i % len(STILL)], rng, 2 * SIZE))
        draw = ImageDraw.Draw(image)
        for left, top in rng.uniform(0.05, 0.8, (3, 2)) * 2 * SIZE:
            size = int(SIZE * rng.uniform(0.05, 0.12))
            words = any_words(rng, int(rng.integers(5, 12)))
            across = draw.textlength(words, font=font_of(size))
            draw.rectangle((left - 8, top - 4, left + across + 8, top + 1.3 * size), fill=(20, 60, 150))
            draw.text((left, top), words, font=font_of(size), fill=(255, 255, 255))
        path = np.linspace(0, SIZE, SAMPLED).astype(int)
        right, down = path if rng.random() < 0.5 else path[::-1], path if rng.random() < 0.5 else path[::-1]
        frames = [np.asarray(image)[y : y + SIZE, x : x + SIZE] for x, y in zip(right, down, strict=True)]
        made.append(np.stack(frames))
    return made


def subtitled(frames: Frames, style: str, rng: np.random.Generator) -> Frames:
    """The clip with a subtitle burnt in."""
    count, height, width = frames.shape[:3]
    size = max(int(height * rng.uniform(0.045, 0.09)), 11)
    at_top, lines = rng.random() < 0.15, int(rng.integers(1, 3))
    margin = int(height * rng.uniform(0.03, 0.1))
    colour = (255, 255, 255) if rng.random() < 0.75 else (255, 230, 60)
    texts = [_lines(rng, lines, size, width) for _ in range(2)]
    shown = (
        range(count) if rng.random() < 0.7 else range(count // 2) if rng.random() < 0.5 else range(count // 2, count)
    )
    made = frames.copy()
    for i in shown:
        image = Image.fromarray(frames[i])
        draw = ImageDraw.Draw(image)
        for n, line in enumerate(texts[2 * i // count]):
            across = draw.textlength(line, font=font_of(size))
            left = (width - across) / 2
            top = margin + n * size * 1.2 if at_top else height - margin - (lines - n) * size * 1.2
            if style == "box":
                draw.rectangle((left - 4, top - 1, left + across + 4, top + size * 1.15), fill=(0, 0, 0))
            stroke = max(size // 10, 1) if style == "outline" else 0
            draw.text((left, top), line, font=font_of(size), fill=colour, stroke_width=stroke, stroke_fill=(0, 0, 0))
        made[i] = np.asarray(image)
    return made


def _lines(rng: np.random.Generator, count: int, size: int, width: int) -> list[str]:
    most = int(1.7 * width / size)
    return [any_words(rng, int(rng.integers(max(most // 2, 6), most))) for _ in range(count)]


def _enlarged(frame: Frames) -> Frames:
    return np.asarray(Image.fromarray(frame).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def _as_jpeg(frames: Frames, quality: int) -> Frames:
    made = []
    for frame in frames:
        stream = BytesIO()
        Image.fromarray(frame).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as image:
            made.append(np.array(image))
    return np.stack(made)
