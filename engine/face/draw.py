"""A photo with its faces boxed and numbered, for choosing one of several."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from fantasyid_engine.atomic import atomic_file, check_new_file
from fantasyid_engine.errors import OutputError
from fantasyid_engine.face.detect import FaceBox

BRIGHT, DARK = (255, 214, 10), (0, 0, 0)
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


def draw_faces(photo: NDArray[np.uint8], faces: Sequence[FaceBox]) -> NDArray[np.uint8]:
    """Photo [H, W, 3] -> a copy with each of `faces` boxed and numbered from 1, as `pick_face` counts them.

    A bright line between two dark ones, and dark numbers on the bright colour, stand out on any picture. Numbers stand
    above their boxes where there is room.
    """
    image = Image.fromarray(photo)
    draw = ImageDraw.Draw(image)
    line = max(1, round(max(image.size) / 400))
    font = ImageFont.load_default(max(14, 10 * line))
    boxes = [_inside(face, image.size, margin=line) for face in faces]
    for x0, y0, x1, y1 in boxes:
        draw.rectangle((x0 - line, y0 - line, x1 + line, y1 + line), outline=DARK, width=3 * line)
        draw.rectangle((x0, y0, x1, y1), outline=BRIGHT, width=line)
    # After all boxes, so that no line runs through a number.
    for number, (x0, y0, _, _) in enumerate(boxes, 1):
        left, top, right, bottom = draw.textbbox((0, 0), str(number), font=font)
        width, height = round(right - left) + 4 * line, round(bottom - top) + 4 * line
        x, y = max(min(x0, image.width - 1 - width), 0), y0 - height if y0 >= height else y0
        draw.rectangle((x, y, x + width, y + height), fill=BRIGHT, outline=DARK, width=line)
        draw.text((x + 2 * line - left, y + 2 * line - top), str(number), font=font, fill=DARK)
    return np.array(image)


def _inside(face: FaceBox, size: tuple[int, int], margin: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a box, moved into the picture so that the lines of one that leaves it are seen."""
    ends = (face.left, face.left + face.width, size[0]), (face.top, face.top + face.height, size[1])
    (x0, x1), (y0, y1) = (
        [min(max(round(v), margin), max(side - 1 - margin, margin)) for v in (start, stop)]
        for start, stop, side in ends
    )
    return x0, y0, x1, y1


def check_picture(path: Path, *, overwrite: bool = False) -> None:
    """Refuses, before any work, a path that is no new .png or .jpg; `overwrite` allows a file that is there.

    Raises:
        OutputError: another suffix; something is there already; the place is no folder or not writable.
    """
    if path.suffix.lower() not in FORMATS:
        raise OutputError(f"cannot write {path}: pictures are .png or .jpg; name one of these")
    check_new_file(path, overwrite=overwrite)


def write_picture(picture: NDArray[np.uint8], path: Path) -> None:
    """Writes [H, W, 3] RGB as .png or .jpg; the file is whole when it is seen.

    Raises:
        OutputError: another suffix, or the file cannot be created.
        WriteError: it cannot be written to its end.
    """
    check_picture(path, overwrite=True)
    encoded = BytesIO()  # Pillow does not look at how much of a JPEG a full disk has taken
    Image.fromarray(picture).save(encoded, format=FORMATS[path.suffix.lower()], quality=95)
    with atomic_file(path) as temporary:
        temporary.write_bytes(encoded.getvalue())
