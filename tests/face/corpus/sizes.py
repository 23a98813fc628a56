"""Sizes at the limits: too small, just large enough, very long."""

from functools import partial

from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import SMALL
from tests.face.corpus.saved import SAVED
from tests.face.pictures import blocks

SIZES: Group = {
    SMALL: {
        f"{kind}, {width} x {height}": lambda save=save, size=(height, width): save(blocks(*size))
        for kind, save in SAVED.items()
        for width, height in ((1, 1), (15, 16), (16, 15))
    },
    **{
        Shown(partial(blocks, height, width), tolerance): {
            f"{kind}, {width} x {height}": lambda kind=kind, size=(height, width): SAVED[kind](blocks(*size))
        }
        for kind, tolerance, width, height in (
            ("PNG", 0, 16, 16),
            ("JPEG", 4, 16, 16),
            ("PNG", 0, 16, 89_000),
            ("PNG", 0, 89_000, 16),
            ("JPEG", 4, 16, 65_500),
            ("JPEG", 4, 65_500, 16),
            ("WebP", 0, 16_383, 16),
        )
    },
}
