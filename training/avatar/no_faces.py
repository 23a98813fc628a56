"""Pictures without a face of the avatar world, drawn by code: what a face detector must learn to leave alone.

Each kind is a function of a generator and a size, S pixels a side, and gives [S, S, 3] uint8 RGB; `no_face` then treats
it as cameras and files treat pictures (brightness, blur, grain, JPEG). Places and lengths are fractions of the side.
`photo_portrait` has people in it, as a photograph would show them: the avatar world's faces are drawn.
"""

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image, ImageDraw

from fantasyid_engine.training.avatar.brushes import (
    Colour,
    Picture,
    Rng,
    any_colour,
    any_words,
    blend,
    blurred,
    contrasting_colour,
    coordinates,
    developed,
    draw_ball,
    draw_clouds,
    draw_ellipse,
    draw_gradient,
    draw_line,
    draw_ridge,
    fill_below,
    font_of,
    mix_colours,
    near_colour,
    photographed,
    resized,
    skin_tone,
    to_bytes,
    turned,
)
from fantasyid_engine.training.avatar.things import (
    draw_any_shape,
    draw_bokeh,
    draw_buttons,
    draw_car,
    draw_foliage,
    draw_hand,
    draw_house,
    draw_rings,
    draw_silhouette,
    draw_table,
    draw_traffic_light,
    draw_tree,
)

LEAST_SIZE = 16


def no_face(kind: str, rng: Rng, size: int) -> Picture:
    """A picture of this kind, [size, size, 3] uint8 RGB.

    Raises:
        ValueError: `kind` is none of `KINDS`; a size under 16.
    """
    if kind not in _DRAWN:
        raise ValueError(f"kind is {kind!r}; it must be one of {', '.join(KINDS)}")
    if size < LEAST_SIZE:
        raise ValueError(f"size is {size}; it must be at least {LEAST_SIZE}")
    return developed(_DRAWN[kind](rng, size), rng)


def draw_no_face(rng: Rng, size: int) -> Picture:
    """A picture of any kind, [size, size, 3] uint8 RGB."""
    return no_face(KINDS[int(rng.integers(len(KINDS)))], rng, size)


def _blank(rng: Rng, size: int) -> Picture:
    way = rng.random()
    if way < 0.4:
        return np.full((size, size, 3), any_colour(rng), np.uint8)
    if way < 0.8:
        return to_bytes(draw_gradient(rng, size))
    across, down = coordinates(size)
    distance = np.hypot(across - rng.uniform(0, 1), down - rng.uniform(0, 1)) / rng.uniform(0.6, 1.2)
    return to_bytes(blend(any_colour(rng), any_colour(rng), np.clip(distance, 0, 1)))


def _noise(rng: Rng, size: int) -> Picture:
    way = rng.integers(4)
    if way == 0:
        grey = rng.normal(rng.uniform(60, 190), rng.uniform(15, 80), (size, size, 1))
        return to_bytes(np.repeat(grey, 3, axis=2))
    if way == 1:
        return to_bytes(rng.normal(rng.uniform(60, 190, 3), rng.uniform(10, 80, 3), (size, size, 3)))
    if way == 2:
        cells = max(int(size / rng.uniform(2, 30)), 2)
        coarse = rng.normal(rng.uniform(60, 190, 3), rng.uniform(25, 70), (cells, cells, 3))
        return to_bytes(resized(coarse, size, smooth=rng.random() < 0.6))
    roughness = rng.uniform(0.6, 1.6)
    if rng.random() < 0.5:
        return to_bytes(blend(any_colour(rng), any_colour(rng), 0.5 + 0.3 * draw_clouds(rng, size, roughness)))
    layers = np.stack([draw_clouds(rng, size, roughness) for _ in range(3)], axis=2)
    return to_bytes(rng.uniform(70, 180, 3) + rng.uniform(20, 60) * layers)


def _text(rng: Rng, size: int) -> Picture:
    paper = (
        draw_gradient(rng, size, near=True)
        if rng.random() < 0.3
        else np.full((size, size, 3), any_colour(rng), np.float32)
    )
    light_paper = rng.random() < 0.6
    if light_paper:
        paper = 255 - (255 - paper) * rng.uniform(0, 0.25)
    image = Image.fromarray(to_bytes(paper))
    draw = ImageDraw.Draw(image)
    ink = (
        tuple(int(c) for c in rng.integers(0, 90, 3)) if light_paper else contrasting_colour(to_bytes(paper)[0, 0], rng)
    )
    height = max(int(size * rng.choice((0.07, 0.1, 0.13, 0.2, 0.32))), 6)
    top, left = rng.uniform(0, 0.15, 2) * size
    while top < size:
        if rng.random() < 0.85:
            count = max(int(size / height * rng.uniform(0.6, 2.2)), 1)
            draw.text((left, top), any_words(rng, count), font=font_of(height), fill=ink)
        top += height * 1.25
    written = np.array(image)
    if rng.random() < 0.4:
        return turned(written, rng.uniform(-35, 35), rng.uniform(0.9, 1.5))
    return written


def _landscape(rng: Rng, size: int) -> Picture:
    night = rng.random() < 0.15
    top: Colour = (
        (20, 24, 60) if night else near_colour((90, 150, 220) if rng.random() < 0.7 else (220, 140, 90), 40, rng)
    )
    low: Colour = (
        (60, 50, 90) if night else near_colour((225, 225, 220) if rng.random() < 0.6 else (250, 190, 140), 25, rng)
    )
    sky = blend(top, low, np.clip(coordinates(size)[1] * rng.uniform(1, 1.7), 0, 1))
    if rng.random() < 0.7:
        cover = np.clip(draw_clouds(rng, size, 1.1, stretch=2) - rng.uniform(0, 0.8), 0, 1)[..., None]
        sky = sky + (235 - 120 * night - sky) * cover * 0.8
    picture = to_bytes(sky)
    if rng.random() < 0.5:
        shine = (250, 240, 190) if rng.random() < 0.6 else (255, 150, 80)
        x, y, radius = rng.uniform((0.1, 0.08, 0.03), (0.9, 0.4, 0.1))
        draw_ellipse(picture, x, y, radius, radius, shine)
    horizon = rng.uniform(0.35, 0.65)
    ground = near_colour((80, 120, 60) if rng.random() < 0.65 else (170, 140, 90), 35, rng)
    layers = int(rng.integers(2, 5))
    for layer in range(layers):
        near = (layer + 1) / layers
        height = horizon + layer * rng.uniform(0.06, 0.14)
        ridge = height - 0.12 * draw_ridge(rng, size, rough=rng.uniform(0.8, 1.6)) * (1.3 - near)
        fill_below(picture, ridge, mix_colours(mix_colours(low, ground, 0.3 + 0.7 * near), (0, 0, 0), 0.45 * night))
        for _ in range(int(rng.integers(0, 5)) if layer else 0):
            draw_tree(
                picture, rng, float(rng.uniform(0, 1)), float(ridge.mean()) + 0.03, 0.06 + 0.14 * near * rng.random()
            )
    if rng.random() < 0.4:
        shore = np.full(size, rng.uniform(0.65, 0.85)) + 0.01 * draw_ridge(rng, size, rough=1)
        fill_below(picture, shore, mix_colours(top, (40, 90, 130), 0.5))
        for _ in range(int(rng.integers(4, 16))):
            x, y = rng.uniform(0, 1), rng.uniform(float(shore.mean()) + 0.03, 1)
            draw_line(picture, [(x, y), (x + rng.uniform(0.04, 0.2), y)], mix_colours(top, (255, 255, 255), 0.4), 1)
    texture = 1 + rng.uniform(0, 0.12) * draw_clouds(rng, size, 0.7)[..., None]
    return to_bytes(picture * texture)


def _shapes(rng: Rng, size: int) -> Picture:
    picture = to_bytes(draw_gradient(rng, size, near=rng.random() < 0.7))
    scene = int(rng.integers(8))
    if scene < 3:
        for _ in range(int(rng.integers(2, 16))):
            draw_any_shape(picture, rng)
    elif scene == 3:
        draw_rings(picture, rng)
    else:
        for _ in range(int(rng.integers(0, 4))):
            draw_any_shape(picture, rng, most=0.12)
        (draw_traffic_light, draw_buttons, draw_house, draw_car)[scene - 4](picture, rng)
    return picture


def _pattern(rng: Rng, size: int) -> Picture:
    one, other = any_colour(rng), any_colour(rng)
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.04, 0.3)
    if rng.random() < 0.5:
        angle = rng.choice((0, np.pi / 4, np.pi / 2))
    across, down = coordinates(size)
    u = (across * np.cos(angle) + down * np.sin(angle)) / period + rng.random()
    v = (down * np.cos(angle) - across * np.sin(angle)) / period + rng.random()
    way, sharp = rng.integers(6), rng.uniform(2, 0.6 * size * period + 2)
    if way == 0:
        level = np.sin(2 * np.pi * u)
    elif way == 1:
        level = np.sin(np.pi * u) * np.sin(np.pi * v)
    elif way == 2:
        level = rng.uniform(0.2, 0.45) - np.hypot(u % 1 - 0.5, v % 1 - 0.5)
    elif way == 3:
        shifted = u + 0.5 * (np.floor(v) % 2)
        level = rng.uniform(0.15, 0.4) - np.hypot(shifted % 1 - 0.5, v % 1 - 0.5)
    elif way == 4:
        level = np.maximum(np.cos(2 * np.pi * u), np.cos(2 * np.pi * v)) - rng.uniform(0.5, 0.9)
    else:
        level = np.sin(2 * np.pi * (v + rng.uniform(0.1, 0.6) * np.sin(2 * np.pi * u * rng.uniform(0.3, 1))))
    pattern = blend(one, other, np.clip(0.5 + sharp * level, 0, 1))
    if rng.random() < 0.4:
        third = np.clip(np.sin(2 * np.pi * v * rng.choice((0.5, 1, 2))) * sharp, 0, 1)[..., None]
        pattern = pattern + (np.array(any_colour(rng)) - pattern) * third * rng.uniform(0.2, 0.7)
    if rng.random() < 0.4:
        pattern = pattern * (1 + 0.1 * draw_clouds(rng, size, 1)[..., None])
    return to_bytes(pattern)


def _photo(rng: Rng, size: int) -> Picture:
    way = int(rng.integers(4))
    if way == 0:
        one = near_colour((120, 110, 95), 60, rng)
        picture = blend(one, near_colour(one, 70, rng), 0.5 + 0.28 * draw_clouds(rng, size, rng.uniform(0.5, 1.3)))
    elif way == 1:
        picture = draw_bokeh(rng, size)
    elif way == 2:
        picture = draw_foliage(rng, size)
    else:
        picture = draw_table(rng, size)
    return photographed(picture, rng)


def _skin(rng: Rng, size: int) -> Picture:
    picture = draw_gradient(rng, size, near=True) * (1 + 0.1 * draw_clouds(rng, size, 1.2)[..., None])
    way = int(rng.integers(3))
    if way == 0:
        for _ in range(int(rng.integers(1, 4))):
            radii = rng.uniform(0.12, 0.35, 2)
            place = rng.uniform(0.15, 0.85, 2)
            draw_ball(picture, rng, place, radii, rng.uniform(0, np.pi), skin_tone(rng), soft=rng.uniform(0.03, 0.4))
    elif way == 1:
        draw_hand(picture, rng)
    else:
        picture = draw_silhouette(picture, rng)
    return to_bytes(blurred(picture, rng.uniform(0, 0.012) * size))


def _photo_portrait(rng: Rng, size: int) -> Picture:
    back = near_colour((95, 85, 72), 55, rng)
    picture = blend(back, near_colour(back, 45, rng), 0.5 + 0.3 * draw_clouds(rng, size, 1.3))
    x, y = rng.uniform(0.4, 0.6), rng.uniform(0.36, 0.5)
    half = rng.uniform(0.13, 0.25)
    tall, lean = half * rng.uniform(1.25, 1.5), rng.uniform(-0.2, 0.2)
    dark, skin = near_colour((45, 38, 34), 28, rng), skin_tone(rng)
    hair = near_colour((60, 45, 35), 35, rng)
    clothes = near_colour((70, 65, 70), 50, rng)
    draw_ball(picture, rng, (x, y + tall * 2.1), (half * 2.3, tall * 1.25), 0, clothes, soft=0.12)
    draw_ball(picture, rng, (x, y + tall), (half * 0.55, tall * 0.7), 0, mix_colours(skin, dark, 0.3), soft=0.2)
    draw_ball(
        picture, rng, (x, y - tall * 0.2), (half * rng.uniform(1.1, 1.35), tall * rng.uniform(1, 1.15)), lean, hair, 0.2
    )
    draw_ball(picture, rng, (x, y + tall * 0.08), (half * 0.95, tall * 0.92), lean, skin, soft=0.18)

    turn = rng.uniform(-0.3, 0.3) * half
    depth = rng.uniform(0.2, 0.5)

    def smudge(right: float, down: float, radii: tuple[float, float], strength: float, colour: Colour = dark) -> None:
        place = (x + turn + right * half - lean * down * tall, y + down * tall + lean * right * half)
        draw_ball(picture, rng, place, (radii[0] * half, radii[1] * tall), lean, colour, soft=0.8, strength=strength)

    for side in (-1, 1):
        smudge(side * 0.4, -0.03, (0.34, 0.17), depth)
        smudge(side * 0.4, -0.2, (0.34, 0.08), depth * 0.7)
        smudge(side * 0.45, 0.35, (0.3, 0.25), 0.2, mix_colours(skin, (230, 190, 170), 0.5))
    smudge(rng.choice((-1, 1)) * 0.12, 0.22, (0.14, 0.34), depth * 0.45)
    smudge(0, 0.34, (0.24, 0.08), depth * 0.6)
    smudge(0, 0.55, (0.4, 0.09), depth, mix_colours(dark, (130, 50, 45), 0.5))
    smudge(0, 0.92, (0.7, 0.2), depth * 0.7)
    shade = coordinates(size)[0] * rng.uniform(-0.7, 0.7)
    picture *= (1 + shade - shade.mean())[..., None]
    picture *= 1 + rng.uniform(0.06, 0.16) * draw_clouds(rng, size, rng.uniform(0.4, 1.0))[..., None]
    picture *= rng.uniform(0.9, 1.6)
    mean = picture.mean((0, 1))
    faded = mean + (picture - mean) * rng.uniform(0.45, 0.85)
    if rng.random() < 0.4:
        faded = faded.mean(2, keepdims=True) * np.array((1, 1, 1) if rng.random() < 0.5 else (1.1, 1, 0.8))
    return photographed(blurred(faded, rng.uniform(0.004, 0.016) * size), rng)


_DRAWN: Mapping[str, Callable[[Rng, int], Picture]] = {
    "blank": _blank,
    "noise": _noise,
    "text": _text,
    "landscape": _landscape,
    "shapes": _shapes,
    "pattern": _pattern,
    "photo": _photo,
    "skin": _skin,
    "photo_portrait": _photo_portrait,
}
KINDS = tuple(_DRAWN)
