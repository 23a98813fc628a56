"""WebP: lossy and lossless, animations, alpha."""

from tests.face.corpus.materials import TRANSLUCENT, later
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import SAME, on_white
from tests.face.pictures import blocks, encoded

WEBP: Group = {
    Shown(tolerance=12): {
        "lossy": lambda: encoded(blocks(), "WEBP", quality=95),
        "lossy, an animation": lambda: encoded(blocks(), "WEBP", **later(), quality=95),
    },
    SAME: {
        "lossless": lambda: encoded(blocks(), "WEBP", lossless=True),
        "lossless, an animation": lambda: encoded(blocks(), "WEBP", **later(), lossless=True),
    },
    Shown(on_white, 12, "transparent parts white"): {
        "lossy with alpha": lambda: encoded(TRANSLUCENT, "WEBP", quality=95),
        "lossless with alpha": lambda: encoded(TRANSLUCENT, "WEBP", lossless=True, exact=True),
    },
}
