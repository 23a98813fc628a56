"""Pictures of avatars and of a real face: one, several, turned, cut off, tiny, none."""

from functools import partial

import numpy as np
from PIL import Image

from tests.face.corpus.model import FaceGroup
from tests.face.pictures import Picture, avatar, blocks, on, portrait
from tests.goldens import require_reference


def newton(share: float = 1) -> Picture:
    """A real photo, 1024 x 1233; the middle of its face is at (588, 283)."""
    image = Image.open(require_reference() / "faces" / "newton.jpg").convert("RGB")
    return np.array(image.resize((round(1024 * share), round(1233 * share)), Image.Resampling.LANCZOS))


def tilted(degrees: int) -> Picture:
    return np.array(Image.fromarray(newton()).rotate(degrees))


THREE = (66, 194, 322)
AVATARS: FaceGroup = {
    "one": (avatar, ((102, 98),)),
    "one, mirrored": (lambda: avatar()[:, ::-1].copy(), ((98, 98),)),
    "one, upside down": (lambda: avatar()[::-1].copy(), ((102, 105),)),
    "two": (lambda: on((220, 420), (avatar(), 0, 10), (avatar(140), 240, 60)), ((102, 107), (312, 124))),
    "nine": (lambda: np.tile(avatar(128), (3, 3, 1)), tuple((x, y - 5) for x in THREE for y in THREE)),
    "one whose hair is cut off": (lambda: on((300, 300), (avatar(), 50, -60)), ((152, 35),)),
    "a head of 30 pixels in 400": (lambda: on((400, 400), (avatar(48), 180, 120)), ((205, 141),)),
    "a head of 10 pixels in 400": (lambda: on((400, 400), (avatar(16), 180, 120)), "face_not_found"),
    "one on its side": (lambda: np.rot90(avatar()).copy(), "face_not_found"),
    "half of one": (lambda: avatar()[:, 100:].copy(), "photo_real"),
    "nobody": (lambda: blocks(200, 200), "face_not_found"),
    "nobody, 16 x 3000": (lambda: blocks(3000, 16), "face_not_found"),
    "a face that is drawn as a photo is": (portrait, "photo_real"),
}
REAL: FaceGroup = {
    "one": (newton, ((588, 283),)),
    "one, mirrored": (lambda: newton()[:, ::-1].copy(), ((433, 283),)),
    "four": (lambda: np.tile(newton(0.5), (2, 2, 1)), ((294, 141), (806, 141), (294, 757), (806, 757))),
    "nine": (
        lambda: np.tile(newton(0.33), (3, 3, 1)),
        tuple((194 + 338 * i, 93 + 407 * j) for i in range(3) for j in range(3)),
    ),
    "one at the left edge": (lambda: newton()[:, 460:].copy(), ((128, 283),)),
    "one whose forehead is cut off": (lambda: newton()[200:].copy(), ((588, 83),)),
    "one of 55 pixels in 1600": (lambda: on((1200, 1600), (newton(0.2), 700, 500)), ((818, 557),)),
    "one in the dark": (lambda: newton() // 8, ((588, 283),)),
    "one tilted by 10 degrees": (partial(tilted, 10), ((529, 276),)),
    "one tilted by 45 degrees": (partial(tilted, 45), "face_not_found"),
    "one on its side": (lambda: np.rot90(newton()).copy(), "face_not_found"),
    "one upside down": (lambda: newton()[::-1].copy(), "face_not_found"),
    "half of one": (lambda: newton()[:, 590:].copy(), "face_not_found"),
}
