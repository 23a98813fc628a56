"""Colour profiles: one that is wider than sRGB in each format, and such as cannot be used."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

from tests.face.corpus.jpegs import cmyk
from tests.face.corpus.materials import RED, SRGB
from tests.face.corpus.model import Group, Shown
from tests.face.corpus.results import GREY, NEAR, SAME
from tests.face.corpus.saved import SAVED, jpeg
from tests.face.pictures import SRGB_XYZ, Picture, blocks, changed, encoded, matrix_profile

P3_XYZ = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
DISPLAY_P3 = matrix_profile(*P3_XYZ)
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
UNUSABLE = {
    "broken": bytes(200),
    "cut off": SRGB[:300],
    "of one byte": b"x",
    "of Lab": LAB,
    "of CMYK": changed(SRGB, b"RGB ", 0, b"CMYK"),
    "of grey": changed(SRGB, b"RGB ", 0, b"GRAY"),
}


def from_p3() -> Picture:
    """`blocks()`, taken as Display P3, in sRGB: by the matrices, without a colour engine."""
    v = blocks() / 255
    light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    light = (light @ np.array(P3_XYZ) @ np.linalg.inv(SRGB_XYZ)).clip(0, 1)
    return (np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255).round().astype("u1")


COLOUR: Group = {
    Shown(from_p3, 6, "brought to sRGB"): {
        f"Display P3 in {kind}": lambda save=save: save(blocks(), icc_profile=DISPLAY_P3)
        for kind, save in SAVED.items()
    },
    Shown(tolerance=1): {"sRGB": lambda: encoded(blocks(), "PNG", icc_profile=SRGB)},
    SAME: {
        f"a profile {what}, ignored": lambda profile=profile: encoded(blocks(), "PNG", icc_profile=profile)
        for what, profile in UNUSABLE.items()
    },
    NEAR: {"a profile of RGB in CMYK, ignored": lambda: jpeg(Image.open(BytesIO(cmyk())), icc_profile=DISPLAY_P3)},
    GREY: {"a profile of RGB in grey, ignored": lambda: encoded(Image.fromarray(RED), "PNG", icc_profile=DISPLAY_P3)},
}
