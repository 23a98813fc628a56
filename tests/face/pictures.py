"""Pictures made in code, files of them, and what every refusal must be."""

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from fantasyid_engine.errors import InputError

Picture = NDArray[np.uint8]


def blocks(height: int = 48, width: int = 64) -> Picture:
    """8 x 8 blocks of random colours: no two corners are alike, and JPEG keeps them nearly as they are."""
    colours = np.random.default_rng(0).integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.kron(colours, np.ones((8, 8, 1), np.uint8))[:height, :width]


def avatar(size: int = 200) -> Picture:
    """The example avatar, [size, size, 3]: found by the avatar detector, and by the Haar cascade too."""
    with Image.open(Path(__file__).parents[2] / "docs" / "examples" / "face.png") as image:
        return np.array(image.convert("RGB").resize((size, size)))


def portrait(size: int = 400, background: int = 90) -> Picture:
    """A shaded drawing that the Haar cascade takes for a face: [size, size, 3], its box about (82, 92, 242, 242) / 400.

    Eyes at (162, 187) and (238, 187) of 400.
    """
    scale = size / 400
    image = Image.new("L", (size, size), background)
    draw = ImageDraw.Draw(image)

    def ellipse(x: float, y: float, across: float, down: float, grey: int) -> None:
        corners = (x - across, y - down, x + across, y + down)
        draw.ellipse([c * scale for c in corners], fill=grey)

    ellipse(200, 175, 108, 140, 45)  # hair
    draw.rectangle([c * scale for c in (160, 300, 240, 400)], fill=150)
    ellipse(200, 205, 86, 118, 200)
    ellipse(200, 130, 70, 40, 205)
    for x in (162, 238):
        ellipse(x, 186, 30, 17, 120)
        ellipse(x, 188, 17, 8, 215)
        ellipse(x, 188, 8, 8, 35)
        draw.rectangle([c * scale for c in (x - 28, 163, x + 28, 172)], fill=60)
    ellipse(200, 215, 10, 38, 225)
    ellipse(200, 248, 20, 9, 165)
    for x in (190, 210):
        ellipse(x, 252, 5, 3, 90)
    ellipse(200, 280, 34, 9, 110)
    ellipse(200, 276, 30, 3, 80)
    ellipse(200, 305, 26, 10, 212)
    for x in (140, 260):
        ellipse(x, 240, 16, 26, 185)
    image = image.filter(ImageFilter.GaussianBlur(4 * scale))
    return np.repeat(np.asarray(image)[..., None], 3, axis=2)


def on(canvas: tuple[int, int], *pasted: tuple[Picture, int, int]) -> Picture:
    """Pictures at (left, top) on grey of (height, width)."""
    image = Image.new("RGB", canvas[::-1], (90, 90, 90))
    for picture, left, top in pasted:
        image.paste(Image.fromarray(picture), (left, top))
    return np.array(image)


def encoded(picture: Picture | Image.Image, format: str, **options: Any) -> bytes:
    stream = BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(stream, format, **options)
    return stream.getvalue()


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    return made


def heic(picture: Picture, orientation: int = 1) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    made = pillow_heif.from_bytes("RGB", picture.shape[1::-1], picture.tobytes())
    made.info["exif"] = exif(orientation).tobytes()
    stream = BytesIO()
    made.save(stream, quality=95)
    return stream.getvalue()


def assert_refused(code: str, name: str, call: Callable[[], Any], *says: str) -> None:
    """`call` must raise an InputError of this code, in one line that names the input and holds all of `says`."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert caught.value.code == code, message
    assert caught.value.exit_code == 65
    assert message.isprintable() and name in message, message
    for part in says:
        assert part in message, message


@contextmanager
def little_memory(mebibytes: int = 192) -> Iterator[None]:
    """Lets the process map only so much more memory than it has: a large allocation fails, touched or not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + (mebibytes << 20), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
