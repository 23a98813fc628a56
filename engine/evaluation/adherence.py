"""Whether clips show what their prompts name.

    score of an attribute = share of the clips whose prompt names it, in which the observer reads the named value
    chance                = 1 / number of its values, what guessing scores

An attribute that the observer cannot tell in a clip counts as not shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Score:
    """One attribute over the clips that name it: share that agrees, number of clips, share that guessing would have."""

    share: float
    clips: int
    chance: float


@dataclass(frozen=True, slots=True)
class Shown:
    """What a clip's prompt names and what an observer reads from it: values by attribute."""

    named: dict[str, str]
    seen: dict[str, str]


def named_in(prompt: str) -> dict[str, str]:
    """The attributes that a prompt names, by the avatar world's vocabulary."""
    from fantasyid_engine.evaluation.vocabulary import attributes_in

    return attributes_in(prompt)


def number_of_values() -> dict[str, int]:
    """How many values each attribute of the vocabulary has, in the vocabulary's order."""
    from fantasyid_engine.evaluation.vocabulary import VALUES

    return {attribute: len(values) for attribute, values in VALUES.items()}


def scores(clips: Sequence[Shown], values: Mapping[str, int]) -> dict[str, Score]:
    """Clips and the number of values by attribute -> a score for every attribute that some clip names."""
    made = {}
    for attribute, count in values.items():
        asked = [clip for clip in clips if attribute in clip.named]
        if asked:
            right = sum(clip.seen.get(attribute) == clip.named[attribute] for clip in asked)
            made[attribute] = Score(right / len(asked), len(asked), 1 / count)
    return made
