"""Drawing by code: colours, shapes, clouds and words, and how cameras and files treat pictures.

Pictures are [S, S, 3] RGB, uint8 or float32 from 0 to 255; places and lengths are fractions of the side.
"""

from collections.abc import Sequence
from functools import cache
from string import ascii_lowercase

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

Picture = NDArray[np.uint8]
Floats = NDArray[np.floating]
Colour = tuple[int, int, int]
Rng = np.random.Generator

_SHIFT = 4  # cv2 takes places in sixteenths of a pixel


def photographed(picture: Floats, rng: Rng) -> Picture:
    """Light from one side, a vignette, a warm or cool cast and grain."""
    size = len(picture)
    across, down = coordinates(size)
    vignette = 1 - rng.uniform(0, 0.9) * ((across - 0.5) ** 2 + (down - 0.5) ** 2)
    slope = 1 + rng.uniform(-0.3, 0.3) * (across - 0.5) + rng.uniform(-0.3, 0.3) * (down - 0.5)
    warm = rng.uniform(-0.14, 0.14)
    picture = picture * (vignette * slope)[..., None] * np.array((1 + warm, 1, 1 - warm), np.float32)
    grain = rng.standard_normal((size, size, 1 if rng.random() < 0.5 else 3), dtype=np.float32)
    return to_bytes(picture + rng.uniform(2, 11) * grain)


def developed(picture: Picture, rng: Rng) -> Picture:
    """What happens to any picture: exposure, mirroring, loss of sharpness, JPEG."""
    import cv2

    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    if rng.random() < 0.4:
        contrast, exposure = rng.uniform(0.5, 1.25), rng.uniform(-40, 40)
        levels = to_bytes(127 + contrast * (np.arange(256) - 127) + exposure)
        picture = levels[picture]
    if rng.random() < 0.3:
        picture = to_bytes(blurred(picture.astype(np.float32), rng.uniform(0.004, 0.02) * len(picture)))
    if rng.random() < 0.5:
        coded = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))])[1]
        decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        picture = np.ascontiguousarray(decoded[..., ::-1])
    return picture


# Colours.


def any_colour(rng: Rng) -> Colour:
    """Any colour, greys and strong ones alike."""
    value, saturation = rng.uniform(30, 255), rng.random() ** 1.3
    red, green, blue = (int(c) for c in value * (1 - saturation * rng.permutation((0.0, rng.random(), 1.0))))
    return red, green, blue


def near_colour(colour: Colour, most: float, rng: Rng) -> Colour:
    """A colour lighter or darker, and a little off in hue, by `most` of 255."""
    shift = rng.uniform(-1, 1) * most * 0.7 + rng.uniform(-1, 1, 3) * most * 0.4
    red, green, blue = (min(max(int(c + s), 0), 255) for c, s in zip(colour, shift, strict=True))
    return red, green, blue


def mix_colours(one: Colour, other: Colour, share: float) -> Colour:
    """`share` of the way from one colour to the other."""
    red, green, blue = (int(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def skin_tone(rng: Rng) -> Colour:
    """A colour that skin has."""
    return near_colour(mix_colours((85, 52, 38), (240, 200, 172), float(rng.random())), 14, rng)


def contrasting_colour(colour: NDArray[np.uint8], rng: Rng) -> Colour:
    """A colour that is dark where `colour` is light, or the other way round."""
    return mix_colours(any_colour(rng), (0, 0, 0) if colour.mean() > 120 else (255, 255, 255), 0.75)


# Fields of values over the picture.


def to_bytes(picture: Floats) -> Picture:
    """Levels of any range -> uint8."""
    return np.clip(picture, 0, 255).astype(np.uint8)


@cache
def coordinates(size: int) -> tuple[Floats, Floats]:
    """How far right and how far down each pixel is, from 0 to 1, [S, S] each."""
    middle = (np.arange(size, dtype=np.float32) + 0.5) / size
    across, down = np.meshgrid(middle, middle)
    across.flags.writeable = down.flags.writeable = False
    return across, down


def blend(one: Colour, other: Colour, share: Floats) -> Floats:
    """[S, S] of shares -> [S, S, 3] of colours."""
    first, second = np.array(one, np.float32), np.array(other, np.float32)
    return first + share.astype(np.float32)[..., None] * (second - first)


def draw_gradient(rng: Rng, size: int, *, near: bool = False) -> Floats:
    """A picture that goes from one colour to another, or to one much like it."""
    one, angle = any_colour(rng), rng.uniform(0, 2 * np.pi)
    other = near_colour(one, 60, rng) if near else any_colour(rng)
    across, down = coordinates(size)
    share = 0.5 + 0.7 * ((across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle))
    return blend(one, other, np.clip(share, 0, 1))


def resized(values: Floats, size: int, *, smooth: bool = True) -> Floats:
    """A picture, or one channel, at `size` pixels a side."""
    import cv2

    way = cv2.INTER_CUBIC if smooth else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(values.astype(np.float32), (size, size), interpolation=way), np.float32)


def draw_clouds(rng: Rng, size: int, roughness: float, stretch: int = 1) -> Floats:
    """Noise of 1/f^`roughness`, about zero mean and unit spread, [S, S]; `stretch` draws it out sideways."""
    total, cells = np.zeros((size, size), np.float32), 3
    while cells < 2 * size:
        rows, columns = min(cells, size), max(min(cells, size) // stretch, 2)
        layer = rng.standard_normal((rows, columns), dtype=np.float32)
        total += resized(layer, size) * np.float32(cells**-roughness)
        cells *= 2
    return (total - total.mean()) / (total.std() + np.float32(1e-6))


def draw_ridge(rng: Rng, size: int, rough: float) -> Floats:
    """The outline of hills, about -1 to 1, [S]."""
    line, cells = np.zeros(size), 3
    places = np.linspace(0, 1, size)
    while cells < size:
        line += np.interp(places, np.linspace(0, 1, cells), rng.standard_normal(cells)) * cells**-rough
        cells *= 2
    return ((line - line.mean()) / (np.abs(line - line.mean()).max() + 1e-6)).astype(np.float32)


def blurred(picture: Floats, sigma: float) -> Floats:
    """A picture through a Gaussian of `sigma` pixels."""
    import cv2

    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32) if sigma > 0.1 else picture


def draw_ball(
    picture: Floats,
    rng: Rng,
    place: Sequence[float] | Floats,
    radii: Sequence[float] | Floats,
    angle: float,
    colour: Colour,
    soft: float,
    strength: float = 1.0,
    *,
    flat: bool = False,
) -> None:
    """Paints an ellipsoid into float RGB, in place; `soft` is the share of the radius over which its edge fades."""
    size = len(picture)
    reach = max(radii) * 1.05
    rows, columns = (
        slice(max(int((p - reach) * size), 0), max(int((p + reach) * size) + 1, 0)) for p in (place[1], place[0])
    )
    across, down = (axis[rows, columns] - np.float32(p) for axis, p in zip(coordinates(size), place, strict=True))
    if across.size == 0:
        return
    cos, sin = float(np.cos(angle)), float(np.sin(angle))
    u, v = (across * cos + down * sin) / float(radii[0]), (down * cos - across * sin) / float(radii[1])
    distance = u * u + v * v
    inside = np.clip((1 - distance) / max(2 * soft, 1e-3), 0, 1) * np.float32(strength)
    paint = np.array(colour, np.float32) * np.ones((*distance.shape, 1), np.float32)
    if not flat:
        lit = 0.7 + 0.45 * np.sqrt(np.clip(1 - distance, 0, 1)) - 0.2 * (u * float(rng.uniform(-1, 1)) + 0.6 * v)
        paint = paint * lit[..., None]
    picture[rows, columns] += (paint - picture[rows, columns]) * inside[..., None]


# Drawing on bytes, in place.


def to_pixels(picture: Picture, points: Sequence[tuple[float, float]]) -> NDArray[np.int32]:
    """Places -> what OpenCV takes: sixteenths of a pixel."""
    return np.round(np.array(points) * len(picture) * 2**_SHIFT).astype(np.int32)


def draw_ellipse(
    picture: Picture, x: float, y: float, across: float, down: float, colour: Colour, angle: float = 0, width: int = -1
) -> None:
    """An ellipse about (x, y), filled unless it has a `width` in pixels."""
    import cv2

    scale = len(picture) * 2**_SHIFT
    centre, axes = (int(x * scale), int(y * scale)), (max(int(across * scale), 1), max(int(down * scale), 1))
    cv2.ellipse(picture, centre, axes, angle, 0, 360, colour, width, cv2.LINE_AA, _SHIFT)


def draw_polygon(picture: Picture, points: Sequence[tuple[float, float]], colour: Colour) -> None:
    """A filled polygon."""
    import cv2

    cv2.fillPoly(picture, [to_pixels(picture, points)], colour, cv2.LINE_AA, _SHIFT)


def draw_box(picture: Picture, left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
    """A filled rectangle."""
    draw_polygon(picture, [(left, top), (right, top), (right, bottom), (left, bottom)], colour)


def draw_line(picture: Picture, points: Sequence[tuple[float, float]], colour: Colour, width: int) -> None:
    """An open line, `width` pixels wide."""
    import cv2

    cv2.polylines(picture, [to_pixels(picture, points)], False, colour, width, cv2.LINE_AA, _SHIFT)


def fill_below(picture: Picture, line: Floats, colour: Colour) -> None:
    """Fills all that is under a line [S] of heights."""
    cover = np.clip((coordinates(len(picture))[1] - line) * len(picture) + 0.5, 0, 1)[..., None]
    picture[:] = to_bytes(picture + (np.array(colour) - picture) * cover)


def turned(picture: Picture, degrees: float, scale: float) -> Picture:
    """A picture turned about its middle; what lies outside is mirrored in."""
    import cv2

    size = len(picture)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), degrees, scale)
    turned = cv2.warpAffine(picture, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(turned, np.uint8)


# Words.


def any_words(rng: Rng, letters: int) -> str:
    """A line of made-up words."""
    text = "".join(ascii_lowercase[i] for i in rng.integers(0, 26, letters))
    cuts = np.cumsum(rng.integers(2, 9, letters // 2 + 1))
    made = " ".join(word for word in (text[a:b] for a, b in zip((0, *cuts), (*cuts, None), strict=True)) if word)
    way = rng.random()
    return made.upper() if way < 0.25 else made.capitalize() if way < 0.5 else made


@cache
def font_of(height: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, `height` pixels high."""
    return ImageFont.load_default(height)
