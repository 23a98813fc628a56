"""Things that stand in pictures without a face: shapes, traffic lights, houses, cars, trees, tables, hands.

Each is drawn into a picture, or is one, as in `brushes`.
"""

from collections.abc import Sequence

import numpy as np

from fantasyid_engine.training.avatar.brushes import (
    Colour,
    Floats,
    Picture,
    Rng,
    any_colour,
    blend,
    blurred,
    coordinates,
    draw_ball,
    draw_box,
    draw_clouds,
    draw_ellipse,
    draw_gradient,
    draw_line,
    draw_polygon,
    mix_colours,
    near_colour,
    skin_tone,
    to_bytes,
)


def draw_any_shape(picture: Picture, rng: Rng, most: float = 0.3) -> None:
    """An ellipse, box, polygon or line anywhere."""
    colour, (x, y) = any_colour(rng), rng.uniform(0, 1, 2)
    across, down = rng.uniform(0.02, most, 2)
    way = int(rng.integers(5))
    if way < 2:
        width = -1 if rng.random() < 0.75 else int(rng.integers(1, 4))
        draw_ellipse(picture, x, y, across, across if way else down, colour, rng.uniform(0, 180), width)
    elif way == 2:
        turn = np.exp(1j * rng.uniform(0, np.pi)) if rng.random() < 0.5 else 1
        corners = [complex(across * a, down * b) * turn for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        draw_polygon(picture, [(x + c.real, y + c.imag) for c in corners], colour)
    elif way == 3:
        angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
        draw_polygon(picture, [(x + across * np.cos(a), y + down * np.sin(a)) for a in angles], colour)
    else:
        draw_line(
            picture, [(x, y), (x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5))], colour, int(rng.integers(1, 5))
        )


def draw_rings(picture: Picture, rng: Rng) -> None:
    """Rings about one middle, as on a target."""
    (x, y), radius = rng.uniform(0.3, 0.7, 2), rng.uniform(0.2, 0.5)
    one, other, rings = any_colour(rng), any_colour(rng), int(rng.integers(2, 8))
    for ring in range(rings):
        reach = radius * (1 - ring / rings)
        draw_ellipse(picture, x, y, reach, reach, one if ring % 2 else other)


def draw_traffic_light(picture: Picture, rng: Rng) -> None:
    """A traffic light on its pole."""
    x, top, radius = rng.uniform(0.25, 0.75), rng.uniform(0.05, 0.25), rng.uniform(0.06, 0.12)
    body = near_colour((50, 50, 52), 30, rng)
    draw_box(picture, x - 0.25 * radius, top, x + 0.25 * radius, 1.1, near_colour((100, 100, 100), 40, rng))
    draw_box(picture, x - 1.4 * radius, top, x + 1.4 * radius, top + 7.6 * radius, body)
    lit = int(rng.integers(3))
    for lamp, colour in enumerate(((230, 50, 40), (245, 190, 40), (60, 200, 90))):
        shown = colour if lamp == lit else mix_colours(colour, body, 0.65)
        draw_ellipse(picture, x, top + (1.4 + 2.4 * lamp) * radius, radius, radius, shown)


def draw_buttons(picture: Picture, rng: Rng) -> None:
    """Knobs and sockets, in rows, or two over a slot: near a face, yet none."""
    colour, (x, y) = any_colour(rng), rng.uniform(0.3, 0.7, 2)
    radius = rng.uniform(0.03, 0.09)
    if rng.random() < 0.5:
        plate = near_colour(colour, 70, rng)
        draw_box(picture, x - 4.5 * radius, y - 4 * radius, x + 4.5 * radius, y + 4.5 * radius, plate)
        for side in (-1, 1):
            draw_ellipse(picture, x + side * 1.8 * radius, y - radius, radius, radius, colour)
        draw_line(picture, [(x - 2 * radius, y + 2 * radius), (x + 2 * radius, y + 2 * radius)], colour, 2)
        return
    columns, rows = rng.integers(1, 6, 2)
    for row in range(rows):
        for column in range(columns):
            right, down = x + (column - columns / 2) * 3 * radius, y + (row - rows / 2) * 3 * radius
            draw_ellipse(picture, right, down, radius, radius, colour)
            draw_ellipse(picture, right, down, 0.7 * radius, 0.7 * radius, mix_colours(colour, (255, 255, 255), 0.3))
            for hole in (-0.25, 0.25):
                draw_ellipse(picture, right + hole * radius, down, 0.14 * radius, 0.14 * radius, (40, 35, 35))


def draw_house(picture: Picture, rng: Rng) -> None:
    """A house with windows and a door."""
    x, half, top, bottom = (
        rng.uniform(0.35, 0.65),
        rng.uniform(0.2, 0.35),
        rng.uniform(0.35, 0.5),
        rng.uniform(0.8, 0.95),
    )
    draw_box(picture, 0, bottom - 0.05, 1, 1.1, near_colour((100, 140, 80), 40, rng))
    draw_box(picture, x - half, top, x + half, bottom, any_colour(rng))
    roof = top - rng.uniform(0.12, 0.3)
    draw_polygon(picture, [(x - half * 1.15, top), (x, roof), (x + half * 1.15, top)], any_colour(rng))
    glass, frame, wide = near_colour((150, 190, 220), 40, rng), any_colour(rng), half * rng.uniform(0.18, 0.3)
    for side in (-1, 1):
        at, level = x + side * half * 0.5, top + 0.3 * (bottom - top)
        draw_box(picture, at - wide * 1.2, level - wide * 1.2, at + wide * 1.2, level + wide * 1.2, frame)
        draw_box(picture, at - wide, level - wide, at + wide, level + wide, glass)
        draw_line(picture, [(at, level - wide), (at, level + wide)], frame, 1)
    door = x + rng.uniform(-0.6, 0.6) * half
    draw_box(picture, door - wide * 0.7, bottom - 0.42 * (bottom - top), door + wide * 0.7, bottom, any_colour(rng))


def draw_car(picture: Picture, rng: Rng) -> None:
    """A car from the side."""
    x, y, long, paint = rng.uniform(0.4, 0.6), rng.uniform(0.5, 0.75), rng.uniform(0.28, 0.42), any_colour(rng)
    tall, way = long * rng.uniform(0.3, 0.42), rng.choice((-1, 1))
    draw_box(picture, 0, y + tall * 0.5, 1, 1.1, near_colour((110, 110, 112), 30, rng))

    def body(points: Sequence[tuple[float, float]], colour: Colour) -> None:
        draw_polygon(picture, [(x + way * a * long, y + b * tall) for a, b in points], colour)

    body([(-0.55, -0.4), (-0.35, -1.3), (0.3, -1.3), (0.6, -0.4)], paint)
    body([(-0.42, -0.45), (-0.28, -1.1), (-0.03, -1.1), (-0.03, -0.45)], (170, 200, 215))
    body([(0.04, -0.45), (0.04, -1.1), (0.25, -1.1), (0.47, -0.45)], (170, 200, 215))
    body([(-1, -0.3), (-0.6, -0.5), (0.65, -0.5), (1, -0.25), (1, 0.5), (-1, 0.5)], paint)
    for place in (-0.55, 0.58):
        for part, colour in ((0.21, (30, 30, 32)), (0.11, (175, 175, 180)), (0.04, (70, 70, 75))):
            draw_ellipse(picture, x + way * place * long, y + tall * 0.5, part * long, part * long, colour)
    draw_ellipse(picture, x + way * 0.93 * long, y - 0.05 * tall, 0.05 * long, 0.07 * long, (250, 235, 160))


def draw_tree(picture: Picture, rng: Rng, x: float, foot: float, height: float) -> None:
    """A tree that stands at (x, foot)."""
    draw_line(
        picture, [(x, foot), (x, foot - height * 0.6)], near_colour((80, 60, 45), 20, rng), max(int(height * 12), 1)
    )
    green = near_colour((60, 100, 50), 30, rng)
    if rng.random() < 0.4:
        wide = 0.3 * height
        draw_polygon(
            picture,
            [(x - wide, foot - 0.25 * height), (x, foot - 1.2 * height), (x + wide, foot - 0.25 * height)],
            green,
        )
        return
    for _ in range(4):
        right, up = rng.uniform(-0.2, 0.2) * height, rng.uniform(0.6, 1) * height
        draw_ellipse(picture, x + right, foot - up, 0.28 * height, 0.24 * height, near_colour(green, 15, rng))


def draw_bokeh(rng: Rng, size: int) -> Floats:
    """Lights out of focus."""
    picture = draw_gradient(rng, size, near=True) * rng.uniform(0.25, 0.9)
    tint = any_colour(rng)
    for _ in range(int(rng.integers(3, 14))):
        radius = rng.uniform(0.03, 0.18)
        draw_ball(
            picture,
            rng,
            rng.uniform(0, 1, 2),
            (radius, radius),
            0,
            near_colour(tint, 80, rng),
            0.25,
            rng.uniform(0.2, 0.8),
            flat=True,
        )
    return blurred(picture, rng.uniform(0.005, 0.03) * size)


def draw_foliage(rng: Rng, size: int) -> Floats:
    """Leaves, near and far."""
    green = near_colour((70, 105, 45) if rng.random() < 0.75 else (165, 100, 45), 30, rng)
    picture = to_bytes(
        blend(
            mix_colours(green, (0, 0, 0), 0.7),
            mix_colours(green, (0, 0, 0), 0.2),
            0.5 + 0.3 * draw_clouds(rng, size, 1),
        )
    )
    count = int(rng.integers(40, 110))
    places, lengths, leans = rng.uniform(0, 1, (count, 2)), rng.uniform(0.03, 0.09, count), rng.normal(0, 45, count)
    light = rng.uniform(-0.5, 0.6, count)
    for (x, y), length, lean, shine in zip(places, lengths, leans + rng.uniform(0, 180), light, strict=True):
        colour = mix_colours(green, (235, 240, 150) if shine > 0 else (10, 20, 10), abs(float(shine)))
        draw_ellipse(picture, x, y, length, length * 0.4, colour, lean)
    return blurred(picture.astype(np.float32), rng.uniform(0.003, 0.012) * size)


def draw_table(rng: Rng, size: int) -> Floats:
    """Bottles, fruits and plates on a table before a wall, shaded from one side."""
    picture = draw_gradient(rng, size, near=True)
    edge, wood = rng.uniform(0.45, 0.65), near_colour((135, 95, 60), 45, rng)
    across, down = coordinates(size)
    grain = 1 + 0.12 * draw_clouds(rng, size, 0.8, stretch=6)[..., None]
    on_table = np.clip((down - edge) * size, 0, 1)[..., None]
    picture = picture * (1 - on_table) + np.array(wood, np.float32) * grain * on_table
    for _ in range(int(rng.integers(2, 6))):
        x, foot, high = rng.uniform(0.1, 0.9), edge + rng.uniform(0.05, 0.35), rng.uniform(0.1, 0.35)
        draw_ball(picture, rng, (x + 0.04, foot), (high * 0.5, high * 0.12), 0, (20, 15, 10), 0.9, 0.6, flat=True)
        way = rng.random()
        if way < 0.4:
            draw_ball(picture, rng, (x, foot - high * 0.4), (high * 0.42, high * 0.4), 0, any_colour(rng), 0.04)
        elif way < 0.7:
            glass, half = near_colour((70, 90, 60), 60, rng), high * rng.uniform(0.25, 0.4)
            for wide, top, bottom in ((half, foot - high, foot), (half * 0.4, foot - high * 1.6, foot - high * 0.9)):
                inside = np.clip((wide - np.abs(across - x)) * size, 0, 1) * np.clip((down - top) * size, 0, 1)
                inside = (inside * np.clip((bottom - down) * size, 0, 1))[..., None]
                round_ = 0.55 + 0.6 * np.clip(1 - ((across - x + wide * 0.4) / wide) ** 2, 0, 1)[..., None]
                picture += (np.array(glass, np.float32) * round_ - picture) * inside * 0.9
        else:
            rim = near_colour((225, 225, 220), 25, rng)
            for part, colour in ((1, rim), (0.7, mix_colours(rim, (120, 120, 120), 0.25))):
                draw_ball(picture, rng, (x, foot), (high * part, high * 0.35 * part), 0, colour, 0.05, flat=True)
            for _ in range(int(rng.integers(0, 3))):
                right = x + rng.uniform(-0.4, 0.4) * high
                draw_ball(
                    picture, rng, (right, foot - 0.12 * high), (high * 0.22, high * 0.2), 0, any_colour(rng), 0.06
                )
    return picture


def draw_hand(picture: Floats, rng: Rng) -> None:
    """A hand with spread fingers."""
    tone, (x, y), wide = skin_tone(rng), rng.uniform(0.38, 0.62, 2), rng.uniform(0.11, 0.18)
    turn, soft = rng.uniform(-0.7, 0.7) + (np.pi if rng.random() < 0.3 else 0), rng.uniform(0.05, 0.15)

    def part(right: float, up: float, radii: tuple[float, float], lean: float) -> None:
        place = (
            x + right * np.cos(turn) * wide + up * np.sin(turn) * wide,
            y + right * np.sin(turn) * wide - up * np.cos(turn) * wide,
        )
        draw_ball(picture, rng, place, (radii[0] * wide, radii[1] * wide), turn + lean, tone, soft)

    part(0, -2.2, (0.7, 1.8), 0)
    spread = rng.uniform(0.05, 0.22)
    for finger in range(4):
        side = finger - 1.5
        part(side * (0.5 + spread), 1.55 - 0.12 * side * side, (0.27, 0.95), side * spread)
    part(-1.15, 0.2, (0.3, 0.85), -0.7)
    part(0, 0, (1, 1.15), 0)


def draw_silhouette(picture: Floats, rng: Rng) -> Floats:
    """Head and shoulders against the light, from the front or the back: an outline and nothing inside."""
    size = len(picture)
    shape = np.zeros((size, size, 3), np.uint8)
    x, y, half = rng.uniform(0.4, 0.6), rng.uniform(0.3, 0.45), rng.uniform(0.12, 0.2)
    white: Colour = (255, 255, 255)
    draw_ellipse(shape, x, y, half, half * rng.uniform(1.15, 1.4), white)
    if rng.random() < 0.5:
        draw_ellipse(shape, x, y - half * rng.uniform(0, 0.5), half * 1.2, half * rng.uniform(1, 1.3), white)
    draw_box(shape, x - half * 0.45, y + half * 0.6, x + half * 0.45, y + half * 2.2, white)
    draw_ellipse(shape, x, y + half * 3.4, half * rng.uniform(2, 2.6), half * 1.8, white)
    inside = blurred(shape.astype(np.float32) / 255, rng.uniform(0.003, 0.02) * size)
    dark = np.array(near_colour((35, 32, 36), 30, rng), np.float32)
    return (
        40 + picture * 0.85 + (dark * (1 + 0.1 * draw_clouds(rng, size, 1)[..., None]) - 40 - picture * 0.85) * inside
    )
