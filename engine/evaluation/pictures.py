"""Pictures small enough for a page, as data URIs."""

from base64 import b64encode
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALL = 128
"""Pictures up to this side are miniatures: kept to the pixel, as PNG."""


def picture_uri(picture: NDArray[np.uint8], side: int) -> str:
    """RGB [H, W, 3] -> a data URI of it with at most `side` pixels a side, without metadata."""
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = BytesIO()
    if max(image.size) <= SMALL:
        image.save(stream, "PNG", optimize=True)
        return data_uri(stream.getvalue(), "image/png")
    image.save(stream, "JPEG", quality=85)
    return data_uri(stream.getvalue(), "image/jpeg")


def data_uri(data: bytes, kind: str) -> str:
    """Bytes of a media type -> a URI that holds them."""
    return f"data:{kind};base64,{b64encode(data).decode()}"
