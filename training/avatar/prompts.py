"""Prompts of clips: the attributes in few words, worded differently each time.

A prompt has a clause (who does what) and up to three more parts (expression, background, light), joined in various
orders. It says nothing of who the person is. A network with one token a byte reads it, so it is short: no more than
96 bytes of UTF-8.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fantasyid_engine.evaluation.vocabulary import LIGHT_ALONE, PHRASES, VALUES, Attributes, fill, goes_with, participle

MOST_BYTES = 96
_TRIES = 12

_SUBJECTS = ("a person", "the person", "someone", "somebody", "a character", "the character")
_SUBJECTS_WITH_ADJECTIVE = ("a {} person", "the {} person", "a {} character", "someone {}")
_FRAMES = ("a portrait of {}", "a video of {}", "portrait: {}", "close-up of {}", "a clip of {}")
_NEUTRAL_NAMED, _FRONT_NAMED, _NEUTRAL_LIGHT_NAMED = 0.4, 0.5, 0.4
_FRAMED, _NO_SUBJECT = 0.25, 0.08


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a prompt and the attributes that it names."""

    text: str
    names: frozenset[str]


def draw_attributes(rng: np.random.Generator) -> Attributes:
    """Attributes at random: each motion as often as any other, and the rest evenly over what goes with it."""
    motion = _pick(VALUES["motion"], rng)
    return Attributes(
        motion=motion,
        expression=_pick([value for value in VALUES["expression"] if goes_with(motion, value)], rng),
        background=_pick(VALUES["background"], rng),
        colour=_pick(VALUES["colour"], rng),
        light_from=_pick(VALUES["light_from"], rng),
        light_colour=_pick(VALUES["light_colour"], rng),
    )


def write_prompt(attributes: Attributes, rng: np.random.Generator, max_bytes: int = MOST_BYTES) -> str:
    """A prompt for a clip of these attributes, at most `max_bytes` of UTF-8.

    At 96 bytes it names every attribute except, at times, those that need no word: a neutral expression, light from the
    front, neutral light. With less room it drops the light, then the expression; motion and background always stay.

    Raises:
        ValueError: not even those fit.
    """
    return write_named_prompt(attributes, rng, max_bytes)[0]


def write_named_prompt(
    attributes: Attributes, rng: np.random.Generator, max_bytes: int = MOST_BYTES
) -> tuple[str, dict[str, str]]:
    """A prompt as `write_prompt` makes it, and the attributes that it names.

    Raises:
        ValueError: not even motion and background fit.
    """
    for with_expression, with_light in ((True, True), (True, False), (False, False)):
        for attempt in range(_TRIES):
            # The last try in each round takes the shortest wordings, so that a part goes only where it cannot fit.
            short = attempt == _TRIES - 1
            parts = _parts(attributes, rng, expression=with_expression, light=with_light, short=short)
            text = ", ".join(part.text for part in parts)
            if not short:
                text = _finished(text, rng)
            if len(text.encode()) <= max_bytes:
                names = frozenset[str]().union(*(part.names for part in parts))
                return text, {name: getattr(attributes, name) for name in VALUES if name in names}
    raise ValueError(f"max_bytes is {max_bytes}; a motion and a background need more")


def _parts(
    attributes: Attributes, rng: np.random.Generator, *, expression: bool, light: bool, short: bool
) -> list[_Part]:
    """The parts in their order; `short` takes the shortest wording of each and leaves out what needs no word."""
    face = _expression(attributes.expression, rng, short) if expression else None
    clause, face = _clause(attributes.motion, face, rng, short)
    background = _background(attributes, rng, short)
    lamp = _light(attributes, rng, short) if light else None

    orders: list[list[_Part | None]] = [
        [clause, face, background, lamp],
        [clause, face, lamp, background],
        [clause, background, face, lamp],
        [background, clause, face, lamp],
        [lamp, clause, face, background],
        [background, lamp, clause, face],
    ]
    order = orders[0] if short else orders[rng.choice(len(orders), p=(0.35, 0.15, 0.15, 0.15, 0.1, 0.1))]
    parts = [part for part in order if part is not None]
    if parts[:2] == [clause, background] and not background.text.startswith("with") and rng.random() < 0.8:
        return [_Part(f"{clause.text} {background.text}", clause.names | background.names), *parts[2:]]
    return parts


def _clause(motion: str, face: _Part | None, rng: np.random.Generator, short: bool) -> tuple[_Part, _Part | None]:
    """Who does what, and the expression where the clause did not take it in ("a calm person nods")."""
    phrase = _wording(PHRASES["motion"][motion], rng, short)
    names = frozenset({"motion"})
    if short:
        return _Part(f"someone {phrase}", names), face
    doing = participle(phrase)
    if rng.random() < _NO_SUBJECT:
        return _Part(doing or phrase, names), face
    subject = _pick(_SUBJECTS, rng)
    # "looking calm", "with a smile" follow; single words may stand before the person.
    if face is not None and " " not in face.text and rng.random() < 0.6:
        subject = fill(_pick(_SUBJECTS_WITH_ADJECTIVE, rng).format(face.text))
        names, face = names | face.names, None
    if rng.random() < _FRAMED:
        return _Part(_pick(_FRAMES, rng).format(f"{subject} {doing or 'who ' + phrase}"), names), face
    way = rng.random()
    if doing is not None and way < 0.25:
        return _Part(f"{subject} {'is ' if way < 0.15 else ''}{doing}", names), face
    return _Part(f"{subject} {phrase}", names), face


def _expression(expression: str, rng: np.random.Generator, short: bool) -> _Part | None:
    if expression == "neutral" and (short or rng.random() >= _NEUTRAL_NAMED):
        return None
    return _Part(_wording(PHRASES["expression"][expression], rng, short), frozenset({"expression"}))


def _background(attributes: Attributes, rng: np.random.Generator, short: bool) -> _Part:
    colour = _wording(PHRASES["colour"][attributes.colour], rng, short)
    template = _wording(PHRASES["background"][attributes.background], rng, short)
    return _Part(fill(template, colour=colour), frozenset({"background", "colour"}))


def _light(attributes: Attributes, rng: np.random.Generator, short: bool) -> _Part | None:
    says_from = attributes.light_from != "front" or (not short and rng.random() < _FRONT_NAMED)
    says_colour = attributes.light_colour != "neutral" or (not short and rng.random() < _NEUTRAL_LIGHT_NAMED)
    colour = _wording(PHRASES["light_colour"][attributes.light_colour], rng, short) if says_colour else ""
    if not says_from:
        return (
            _Part(fill(_wording(LIGHT_ALONE, rng, short), light=colour), frozenset({"light_colour"}))
            if colour
            else None
        )
    templates = [t for t in PHRASES["light_from"][attributes.light_from] if "{light}" in t or not colour]
    names = frozenset({"light_from", "light_colour"} if colour else {"light_from"})
    return _Part(fill(_wording(templates, rng, short), light=colour), names)


def _finished(text: str, rng: np.random.Generator) -> str:
    """Some prompts begin with a capital letter, and some of those end with a full stop."""
    way = rng.random()
    if way < 0.5:
        return text
    return text[0].upper() + text[1:] + ("." if way < 0.75 else "")


def _wording(wordings: Sequence[str], rng: np.random.Generator, short: bool) -> str:
    if short:
        return min(wordings, key=lambda words: len(words.encode()))
    # Most of them are the shorter of two draws, so that most prompts are short.
    first, second, alone = _pick(wordings, rng), _pick(wordings, rng), rng.random() < 0.25
    return first if alone or len(first) <= len(second) else second


def _pick(values: Sequence[str], rng: np.random.Generator) -> str:
    return values[int(rng.integers(len(values)))]
