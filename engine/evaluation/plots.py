"""Where things are in the report's plots, in units of their view boxes; the template draws them as SVG."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from fantasyid_engine.evaluation.measure import MethodMeasures

COLOURS = 6
"""The style sheet has so many; rows beyond them begin again."""


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie along one direction: `low` at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The place of a value."""
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 2)

    @property
    def ticks(self) -> tuple[tuple[str, float], ...]:
        """Both ends and the middle, with what is written there."""
        middle = (self.low + self.high) / 2
        return tuple((format(value, ".3g"), self.at(value)) for value in (self.low, middle, self.high))


@dataclass(frozen=True, slots=True)
class Line:
    """Similarity over the frames of a clip: polylines, as SVG's `points` has them, and dots for frames alone."""

    x: Axis
    y: Axis
    pieces: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A clip in the scatter plot: place, number of its row, what a pointer over it says."""

    x: float
    y: float
    row: int
    title: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Similarity over motion, a point a clip."""

    x: Axis
    y: Axis
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Bar:
    """A row's score for an attribute, in percent."""

    row: int
    name: str
    percent: float
    clips: int


@dataclass(frozen=True, slots=True)
class Bars:
    """The scores of an attribute, and what guessing scores, in percent."""

    attribute: str
    chance: float
    bars: tuple[Bar, ...]


def similarity_line(values: Sequence[float | None]) -> Line:
    """Cosines over frames, None where there is no face -> a plot of 320 x 110."""
    x = Axis(1, max(2, len(values)), 34, 312)
    y = Axis(min(0.0, *(v for v in values if v is not None), 0.0), 1.0, 92, 8)
    pieces, dots = [], []
    numbered = enumerate(values, start=1)
    for missing, group in groupby(numbered, key=lambda pair: pair[1] is None):
        places = [] if missing else [(x.at(number), y.at(value)) for number, value in group if value is not None]
        if len(places) == 1:
            dots += places
        elif places:
            pieces.append(" ".join(f"{left},{top}" for left, top in places))
    return Line(x, y, tuple(pieces), tuple(dots))


def similarity_over_motion(methods: Sequence[MethodMeasures]) -> Scatter:
    """Every clip that has both measures -> a plot of 520 x 320."""
    clips = [(row, clip, clip.fm) for row, m in enumerate(methods) for clip in m.clips if clip.fm is not None]
    x = Axis(0.0, round_above(max([fm for _, _, fm in clips] + [0.1])), 46, 504)
    y = Axis(min([clip.rs for _, clip, _ in clips] + [0.0]), 1.0, 274, 12)
    points = tuple(
        Point(x.at(fm), y.at(clip.rs), row, f"{methods[row].name}: {clip.video} (RS {clip.rs:.2f}, FM {fm:.2f})")
        for row, clip, fm in clips
    )
    return Scatter(x, y, points)


def round_above(value: float) -> float:
    """The next of 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, ... that is larger; its half is short to write, too."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 6, 8, 10) if step * power >= value)


def adherence_bars(methods: Sequence[MethodMeasures], chances: Mapping[str, float]) -> tuple[Bars, ...]:
    """The scores of every row, an attribute after the other."""
    return tuple(
        Bars(
            attribute,
            round(100 * chance, 1),
            tuple(
                Bar(row, method.name, round(100 * score.share, 1), score.clips)
                for row, method in enumerate(methods)
                if (score := method.adherence.get(attribute)) is not None
            ),
        )
        for attribute, chance in chances.items()
    )
