"""Around a person: background, light, clothes, camera; each drawn at random within what a prompt names.

Colours are RGB in [0, 1]; directions as in `head`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.vocabulary import Attributes
from fantasyid_engine.training.avatar.person import Colour, rgb

Floats = NDArray[np.float64]

COLOURS: dict[str, str] = {
    "red": "#c8433f",
    "orange": "#e58a3a",
    "yellow": "#e6cf4e",
    "green": "#4c9f58",
    "blue": "#3f6fc4",
    "purple": "#7d4fae",
    "pink": "#e99abb",
    "grey": "#8e8e90",
}
CLOTHES: tuple[str, ...] = ("#2d3340", "#5b5f66", "#e4e0d8", "#46423c")
LIGHTS: dict[str, tuple[float, float, float]] = {
    "left": (-0.85, 0.20, 0.48),
    "right": (0.85, 0.20, 0.48),
    "above": (0.0, 0.95, 0.30),
    "front": (0.0, 0.10, 1.0),
}
TINTS: dict[str, Colour] = {"neutral": (1.0, 1.0, 1.0), "warm": (1.14, 0.98, 0.72), "cool": (0.87, 0.97, 1.15)}


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """What surrounds a person.

    background  `plain`, `gradient`, `stripes` or `dots`
    colours     its colour, and the shade of it that gradients and patterns go to
    pattern     direction (radians), repeats over the picture, phase (0 to 1)
    light       unit vector from the face to the light
    tint        colour of the light
    clothes     colour
    zoom        1: the head's 24 cm fill 70 % of the picture's height
    shift       of the picture's middle, in picture heights: right, up
    """

    background: str
    colours: tuple[Colour, Colour]
    pattern: tuple[float, float, float]
    light: tuple[float, float, float]
    tint: Colour
    clothes: Colour
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)


def draw_scene(attributes: Attributes, rng: np.random.Generator) -> Scene:
    """A scene that has the background and light of `attributes`; the rest is drawn."""
    colour = np.clip(np.array(rgb(COLOURS[attributes.colour])) * rng.uniform(0.92, 1.08, 3), 0, 1)
    light_up = rng.random() < 0.5 and attributes.colour != "grey"
    shade = colour + (1 - colour) * 0.45 if light_up else colour * 0.62
    if attributes.background == "stripes":
        pattern = rng.choice([0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]), rng.uniform(4, 8), rng.random()
    elif attributes.background == "dots":
        pattern = rng.choice([0.0, np.pi / 4]), rng.uniform(6, 9), rng.random()
    else:
        pattern = rng.uniform(0, 2 * np.pi), 1.0, 0.0
    direction = np.array(LIGHTS[attributes.light_from]) + rng.normal(0, 0.06, 3)
    tint = np.array(TINTS[attributes.light_colour]) * rng.uniform(0.98, 1.02, 3) * rng.uniform(0.94, 1.05)
    return Scene(
        background=attributes.background,
        colours=(_colour(colour), _colour(shade)),
        pattern=(float(pattern[0]), float(pattern[1]), float(pattern[2])),
        light=_colour(direction / np.linalg.norm(direction)),
        tint=_colour(tint),
        clothes=rgb(CLOTHES[rng.integers(len(CLOTHES))]),
        zoom=float(rng.uniform(0.97, 1.06)),
        shift=(float(rng.uniform(-0.025, 0.025)), float(rng.uniform(-0.02, 0.02))),
    )


def _colour(values: Floats) -> Colour:
    first, second, third = (float(v) for v in values)
    return first, second, third
