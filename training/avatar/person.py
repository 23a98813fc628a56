"""People: who somebody is, to the last parameter, and how people are drawn.

Colours are RGB in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.training.avatar.hair import BEARDS, STYLES
from fantasyid_engine.training.avatar.head import SHAPE

Colour = tuple[float, float, float]

SKIN: tuple[str, ...] = (
    "#fbdcc8",
    "#f3c5a5",
    "#e8b088",
    "#d99a6c",
    "#c68658",
    "#a96b42",
    "#8a5334",
    "#683c26",
    "#4c2c1f",
)
EYES: tuple[str, ...] = ("#4a2c1a", "#6b4423", "#8a6a34", "#4f7a3a", "#3f8f7a", "#4a86c5", "#2d5d94", "#7d8a97")
HAIR: tuple[str, ...] = (
    "#17130f",
    "#33221a",
    "#5a3a24",
    "#7f5030",
    "#a33f1c",
    "#c98a3d",
    "#e8cf8e",
    "#8d8d8d",
    "#e6e3dc",
)
DYED: tuple[str, ...] = ("#2f6fd6", "#e0559b", "#2aa79b", "#8a4fd0", "#d6333f")
GLASSES: tuple[str, ...] = ("#1c1c20", "#7a3b1e", "#b8862b", "#c22f3a", "#2b5fb0", "#e9e4da")
RIMS = ("none", "round", "square", "narrow")
LIP_TINTS: tuple[str, ...] = ("#c0392b", "#a61e4d", "#d6547a")


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """An identity.

    shape      [16] float32, standard deviations, in the order of `head.SHAPE`
    skin, eyes, hair, lips, rims   colours
    style      of hair, a name of `hair.STYLES`; beard one of `hair.BEARDS`; glasses one of `RIMS`
    brow       thickness (metres) and slope (rise outwards) of the brows
    freckles, blush, lashes        strengths from 0 to 1
    """

    shape: NDArray[np.float32]
    skin: Colour
    eyes: Colour
    hair: Colour
    lips: Colour
    rims: Colour
    style: str
    beard: str
    glasses: str
    brow: tuple[float, float]
    freckles: float
    blush: float
    lashes: float


def draw_person(rng: np.random.Generator) -> Person:
    """A person at random: every draw a new one."""
    shape = np.clip(rng.normal(0, 1, len(SHAPE)), -2.2, 2.2).astype(np.float32)
    skin = _between(SKIN, rng)
    dyed = rng.random() < 0.15
    hair = _jittered(rgb(DYED[rng.integers(len(DYED))]) if dyed else rgb(HAIR[rng.integers(len(HAIR))]), rng)
    bearded = rng.random() < 0.35
    beard = str(rng.choice(BEARDS[1:])) if bearded else "none"
    tinted = not bearded and rng.random() < 0.4
    natural = _mix(skin, (0.72, 0.22, 0.22), 0.42 + 0.1 * rng.random())
    return Person(
        shape=shape,
        skin=skin,
        eyes=_jittered(rgb(EYES[rng.integers(len(EYES))]), rng),
        hair=hair,
        lips=_jittered(rgb(LIP_TINTS[rng.integers(len(LIP_TINTS))]), rng) if tinted else natural,
        rims=rgb(GLASSES[rng.integers(len(GLASSES))]),
        style=str(rng.choice(list(STYLES))),
        beard=beard,
        glasses=str(rng.choice(RIMS[1:])) if rng.random() < 0.3 else "none",
        brow=(float(rng.uniform(0.0022, 0.0052)), float(rng.uniform(-0.15, 0.28))),
        freckles=float(rng.random()) if rng.random() < 0.2 else 0.0,
        blush=float(rng.uniform(0.1, 0.7)),
        lashes=float(rng.uniform(0.0, 1.0)) * (0.4 if bearded else 1.0),
    )


def rgb(code: str) -> Colour:
    """'#rrggbb' -> RGB in [0, 1]."""
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _between(colours: tuple[str, ...], rng: np.random.Generator) -> Colour:
    at = rng.uniform(0, len(colours) - 1)
    first = min(int(at), len(colours) - 2)
    return _mix(rgb(colours[first]), rgb(colours[first + 1]), at - first)


def _mix(one: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(one, other, strict=True))
    return red, green, blue


def _jittered(colour: Colour, rng: np.random.Generator) -> Colour:
    red, green, blue = (float(c) for c in np.clip(np.array(colour) * rng.uniform(0.88, 1.12, 3), 0, 1))
    return red, green, blue
