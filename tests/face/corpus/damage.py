"""Files of every format that are cut off, overwritten or followed by garbage."""

from collections.abc import Callable
from functools import partial

from tests.face.corpus.materials import NOISE
from tests.face.corpus.model import Group, Refused
from tests.face.corpus.results import NEAR
from tests.face.corpus.saved import SAVED, jpeg
from tests.face.pictures import blocks, encoded, heic

WHOLE: dict[str, Callable[[], bytes]] = {
    **{kind: partial(save, NOISE) for kind, save in SAVED.items()},
    "JPEG, progressive": partial(jpeg, NOISE, progressive=True),
    "WebP, lossy": partial(encoded, NOISE, "WEBP"),
    "TIFF, LZW": partial(encoded, NOISE, "TIFF", compression="tiff_lzw"),
    "BMP": partial(encoded, NOISE, "BMP"),
    "GIF": partial(encoded, NOISE, "GIF"),
    "HEIC": lambda: heic(NOISE),
}
DAMAGE: Group = {
    Refused("image_unreadable", "cut off"): {
        f"{kind}, {share} % of it": lambda make=make, share=share: make()[: len(make()) * share // 100]
        for kind, make in WHOLE.items()
        for share in (10, 50, 99)
    },
    NEAR: {
        f"{kind}, with garbage behind": lambda save=save: save(blocks()) + bytes(range(256)) * 9
        for kind, save in SAVED.items()
    },
    Refused("image_unreadable", "it is damaged or cut off ("): {
        f"{kind}, noise behind its first {size} bytes": lambda make=make, size=size: make()[:size] + NOISE.tobytes()
        for kind, make in WHOLE.items()
        if kind not in ("WebP, lossy", "GIF", "HEIC")
        for size in (16, 40)
    },
    Refused("image_unreadable", "it is empty"): {"nothing": bytes},
}
