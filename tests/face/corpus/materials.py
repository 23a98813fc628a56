"""What the files are made of: `blocks()`, 64 x 48, in other depths, with alpha, in few colours; noise."""

from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.face.pictures import Picture, blocks

RED = blocks()[..., 0]
WIDE = blocks().astype(np.uint16) * 257
ALPHA = np.repeat(np.uint8([[0, 128, 255, 255]]), 16, axis=1).repeat(48, axis=0)
WIDE_ALPHA = ALPHA.astype(np.uint16) * 257
NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
TRANSLUCENT = Image.fromarray(np.dstack([blocks(), ALPHA]))
COLOURS = np.random.default_rng(1).integers(0, 256, (256, 3), dtype=np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def later() -> dict[str, Any]:
    """Options of frames behind the first. New ones each time: Pillow leaves marks on what it writes."""
    return {"save_all": True, "append_images": [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]}


def poster() -> Image.Image:
    """`blocks()` in sixteen colours."""
    return Image.fromarray(blocks()).quantize(16)


def black_and_white() -> Image.Image:
    return Image.fromarray(blocks()).convert("1")


def rgb(image: Image.Image) -> Picture:
    return np.asarray(image.convert("RGB"))
