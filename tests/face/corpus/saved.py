"""A picture as a file of each format, as near to it as the format can be."""

from collections.abc import Callable
from typing import Any

from tests.face.pictures import avif, blocks, encoded

FINE = {"quality": 95, "subsampling": 0}


def jpeg(picture: Any = None, **options: Any) -> bytes:
    return encoded(blocks() if picture is None else picture, "JPEG", **(FINE | options))


SAVED: dict[str, Callable[..., bytes]] = {
    "JPEG": jpeg,
    "PNG": lambda picture, **options: encoded(picture, "PNG", **options),
    "WebP": lambda picture, **options: encoded(picture, "WEBP", lossless=True, **options),
    "TIFF": lambda picture, **options: encoded(picture, "TIFF", **options),
    "AVIF": lambda picture, **options: avif(picture, quality=100, subsampling="4:4:4", **options),
}
