"""Sheets of pictures: a row a person.

S side of a picture in pixels.
"""

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fantasyid_engine.errors import one_line
from fantasyid_engine.evaluation.frames import read_frames
from fantasyid_engine.training.proof.people import Subject, clip_path
from fantasyid_engine.training.proof.report import ShapeControl

Picture = NDArray[np.uint8]
LARGER = 3
HEAD, MARGIN, LINE, LETTERS, TEXT = 20, 6, 18, 34, 250
"""Pixels: height of the headings, around text, of a line; letters a line, and the column's width."""


def people_sheet(place: Path, subjects: Sequence[Subject], side: int) -> Picture:
    """Photo, then first, middle and last frame of `true` and of `ours`, and the prompt, of each person."""
    rows = []
    for subject in subjects:
        row = [photo_of(subject)]
        for name in ("true", "ours"):
            frames = read_frames(clip_path(place, name, subject))
            row += [frames[at] for at in (0, len(frames) // 2, -1)]
        rows.append(row)
    headings = ["photo", "true", "", "", "ours", "", "", "prompt"]
    return sheet(headings, rows, side, [subject.sample.prompt for subject in subjects])


def shape_sheet(
    subjects: Sequence[Subject], pictures: Sequence[Sequence[Picture]], shape: ShapeControl, side: int
) -> Picture:
    """Photo, then the picture at each setting, of each person."""
    rows = [[photo_of(subject), *row] for subject, row in zip(subjects, pictures, strict=False)]
    return sheet(["photo", *(f"{shape.direction} {setting:+g}" for setting in shape.settings)], rows, side)


def photo_of(subject: Subject) -> Picture:
    """RGB [H, W, 3]."""
    return np.array(Image.open(io.BytesIO(subject.photo)).convert("RGB"))


def sheet(headings: Sequence[str], rows: Sequence[Sequence[Picture]], side: int, texts: Sequence[str] = ()) -> Picture:
    """Rows of square pictures, each brought to `LARGER` times `side`, with headings and, if given, a text a row.

    Raises:
        ValueError: no row, or rows of different lengths.
    """
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise ValueError(f"sheet: rows must be of one length; these have {sorted(lengths)} pictures")
    cell, columns = LARGER * side, lengths.pop()
    width = columns * cell + (TEXT if texts else 0)
    image = Image.new("RGB", (width, HEAD + len(rows) * cell), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    for column, heading in enumerate(headings):
        draw.text((column * cell + MARGIN, 2), one_line(heading), fill="black", font=font)
    for number, row in enumerate(rows):
        for column, picture in enumerate(row):
            shown = Image.fromarray(picture).resize((cell, cell), Image.Resampling.LANCZOS)
            image.paste(shown, (column * cell, HEAD + number * cell))
    for number, text in enumerate(texts):
        for line, words in enumerate(textwrap.wrap(one_line(text), LETTERS)):
            at = columns * cell + MARGIN, HEAD + number * cell + MARGIN + line * LINE
            draw.text(at, words, fill="black", font=font)
    return np.array(image)
