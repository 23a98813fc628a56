"""The attributes that a clip of the avatar world has, how a prompt words them, and which ones a prompt names.

Left and right are the picture's, which are the viewer's: `turn_left` takes the nose towards the picture's left edge,
and light from the left falls in over that edge. A background and its colour are worded together, and so are the
direction and the colour of the light: phrases of `background` hold `{colour}`, most of `light_from` hold `{light}`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache

VALUES: Mapping[str, tuple[str, ...]] = {
    "motion": ("turn_left", "turn_right", "nod", "tilt", "look_around", "smile", "talk", "blink", "still"),
    "expression": ("neutral", "smiling", "surprised", "frowning"),
    "background": ("plain", "gradient", "stripes", "dots"),
    "colour": ("red", "orange", "yellow", "green", "blue", "purple", "pink", "grey"),
    "light_from": ("left", "right", "above", "front"),
    "light_colour": ("neutral", "warm", "cool"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """What happens in one clip, and in which surroundings; who is in it is none of these.

    Attributes:
        motion: what the person does; a smile starts from a neutral face, and nobody talks with a surprised one.
        expression: of the face, all clip long; with the motion `smile`, at its start.
        background: its pattern.
        colour: of the background.
        light_from: the side of the picture that the light comes from.
        light_colour: of the light.

    Raises:
        ValueError: a value that `VALUES` does not list; a motion that does not go with the expression.
    """

    motion: str
    expression: str
    background: str
    colour: str
    light_from: str
    light_colour: str

    def __post_init__(self) -> None:
        for field in fields(self):
            check_value(field.name, getattr(self, field.name))
        check_motion(self.motion, self.expression)


def check_value(attribute: str, value: str) -> None:
    """Refuses a value that `attribute` does not have.

    Raises:
        ValueError: it is none of `VALUES[attribute]`.
    """
    if value not in VALUES[attribute]:
        raise ValueError(f"{attribute} is {value!r}; it must be one of {', '.join(VALUES[attribute])}")


def goes_with(motion: str, expression: str) -> bool:
    """Whether a face of this expression can make this motion so that both are seen."""
    if motion == "smile":
        return expression == "neutral"
    return motion != "talk" or expression != "surprised"


def check_motion(motion: str, expression: str) -> None:
    """Refuses a motion that hides the expression, or is hidden by it.

    Raises:
        ValueError: they do not go together.
    """
    if not goes_with(motion, expression):
        allowed = [value for value in VALUES["expression"] if goes_with(motion, value)]
        raise ValueError(f"expression is {expression!r}; with motion {motion!r} it must be one of {', '.join(allowed)}")


_LIGHT_FROM_A_SIDE = (
    "{light} light from the SIDE",
    "lit from the SIDE",
    "{light} light from SIDE",
    "{light} light on the SIDE side",
    "{light} light falling from the SIDE",
    "{light} lamp on the SIDE",
    "a {light} glow from the SIDE",
)

PHRASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "motion": {
        "turn_left": (
            "turns left",
            "turns to the left",
            "turns the head to the left",
            "looks to the left",
            "looks over to the left side",
            "faces left",
            "rotates the head left",
        ),
        "turn_right": (
            "turns right",
            "turns to the right",
            "turns the head to the right",
            "looks to the right",
            "looks over to the right side",
            "faces right",
            "rotates the head right",
        ),
        "nod": (
            "nods",
            "nods the head",
            "gives a nod",
            "gives a slow nod",
            "nods in agreement",
            "moves the head up and down",
            "bows the head briefly",
        ),
        "tilt": (
            "tilts the head",
            "tilts the head to one side",
            "leans the head to a side",
            "cocks the head",
            "tips the head sideways",
            "inclines the head",
        ),
        "look_around": (
            "looks around",
            "looks from side to side",
            "looks to both sides",
            "glances around",
            "looks left and right",
            "scans the room",
            "turns the head from side to side",
        ),
        "smile": (
            "smiles",
            "starts to smile",
            "begins to smile",
            "breaks into a smile",
            "puts on a smile",
            "forms a smile",
            "gives a big smile",
        ),
        "talk": (
            "talks",
            "speaks",
            "chats",
            "says something",
            "keeps talking",
            "tells a story",
            "talks to the camera",
        ),
        "blink": (
            "blinks",
            "blinks once or twice",
            "shuts the eyes briefly",
            "closes the eyes briefly",
            "bats the eyelids",
            "gives a blink",
        ),
        "still": (
            "keeps still",
            "holds still",
            "stays still",
            "does not move",
            "stays motionless",
            "poses without moving",
            "holds the pose",
        ),
    },
    "expression": {
        "neutral": (
            "calm",
            "relaxed",
            "composed",
            "with a calm face",
            "with a neutral face",
            "looking calm",
            "with a blank expression",
        ),
        "smiling": (
            "smiling",
            "grinning",
            "cheerful",
            "happy",
            "with a smile",
            "looking happy",
            "with a happy face",
            "with a big grin",
        ),
        "surprised": (
            "surprised",
            "astonished",
            "amazed",
            "looking surprised",
            "with a look of surprise",
            "with raised brows",
            "with an astonished face",
        ),
        "frowning": (
            "frowning",
            "scowling",
            "grumpy",
            "with a frown",
            "with a scowl",
            "looking cross",
            "with an angry face",
        ),
    },
    "background": {
        "plain": (
            "in front of a plain {colour} wall",
            "on plain {colour}",
            "against plain {colour}",
            "with a plain {colour} background",
            "before a solid {colour} backdrop",
            "on a {colour} wall",
        ),
        "gradient": (
            "on a {colour} gradient",
            "against a {colour} gradient",
            "with a {colour} gradient behind",
            "with a fading {colour} background",
            "before a shaded {colour} backdrop",
            "on fading {colour}",
        ),
        "stripes": (
            "against {colour} stripes",
            "on {colour} stripes",
            "with {colour} stripes behind",
            "before a striped {colour} wall",
            "with a {colour} striped wallpaper",
            "on striped {colour}",
        ),
        "dots": (
            "against {colour} dots",
            "on {colour} dots",
            "with {colour} polka dots behind",
            "with a {colour} dotted wallpaper behind",
            "before a dotted {colour} wall",
            "on dotted {colour}",
        ),
    },
    "colour": {
        "red": ("red", "crimson", "scarlet", "ruby red"),
        "orange": ("orange", "tangerine", "pumpkin orange"),
        "yellow": ("yellow", "lemon yellow", "canary yellow", "sunflower yellow"),
        "green": ("green", "emerald", "grass green", "leaf green"),
        "blue": ("blue", "cobalt", "azure", "sapphire blue"),
        "purple": ("purple", "violet", "grape purple", "plum"),
        "pink": ("pink", "candy pink", "bubblegum pink"),
        "grey": ("grey", "gray", "stone grey", "ash grey"),
    },
    "light_from": {
        "left": tuple(phrase.replace("SIDE", "left") for phrase in _LIGHT_FROM_A_SIDE),
        "right": tuple(phrase.replace("SIDE", "right") for phrase in _LIGHT_FROM_A_SIDE),
        "above": (
            "{light} light from above",
            "lit from above",
            "{light} overhead light",
            "{light} light from overhead",
            "{light} light falling from above",
            "a {light} glow from above",
        ),
        "front": (
            "{light} light from the front",
            "lit from the front",
            "{light} frontal light",
            "{light} front light",
            "{light} light from ahead",
            "a {light} glow from the front",
        ),
    },
    "light_colour": {
        "neutral": ("neutral", "white", "natural", "clear", "colourless"),
        "warm": ("warm", "golden", "amber", "cosy", "honeyed"),
        "cool": ("cool", "cold", "bluish", "icy", "chilly"),
    },
}

LIGHT_ALONE = ("in {light} light", "under {light} light", "{light} light", "{light} lighting")
"""How the colour of the light is worded when nothing is said of where it comes from."""

PARTICIPLES: Mapping[str, str] = {
    "bats": "batting",
    "begins": "beginning",
    "blinks": "blinking",
    "bows": "bowing",
    "breaks": "breaking",
    "chats": "chatting",
    "closes": "closing",
    "cocks": "cocking",
    "faces": "facing",
    "forms": "forming",
    "gives": "giving",
    "glances": "glancing",
    "holds": "holding",
    "inclines": "inclining",
    "keeps": "keeping",
    "leans": "leaning",
    "looks": "looking",
    "moves": "moving",
    "nods": "nodding",
    "poses": "posing",
    "puts": "putting",
    "rotates": "rotating",
    "says": "saying",
    "scans": "scanning",
    "shuts": "shutting",
    "speaks": "speaking",
    "starts": "starting",
    "stays": "staying",
    "talks": "talking",
    "tells": "telling",
    "tilts": "tilting",
    "tips": "tipping",
    "turns": "turning",
}
"""First words of motions that have an -ing form; not `smiles`, for "smiling" is an expression, not what happens."""


def fill(template: str, *, colour: str = "", light: str = "") -> str:
    """A phrase with its colour words put in, or left out, and "a" or "an" as the next word wants it."""
    words = " ".join(template.replace("{colour}", colour).replace("{light}", light).split())
    return re.sub(r"\ba (?=[aeiou])", "an ", words)


def participle(phrase: str) -> str | None:
    """A motion's phrase in its -ing form, as in "someone nodding", or None where it has none."""
    verb, *rest = phrase.split(" ")
    return " ".join([PARTICIPLES[verb], *rest]) if verb in PARTICIPLES else None


def attributes_in(prompt: str) -> dict[str, str]:
    """The attributes that a prompt names, each with its value; those it does not name, or contradicts, are left out.

    Phrases of the tables count first, longest first, then looser wordings by keyword. "smiles" beside another motion
    is the expression of that motion; alone, it is what happens.
    """
    found: dict[str, set[str]] = {attribute: set() for attribute in (*VALUES, "smiles")}
    words = re.findall(r"[^\W_]+|[.,;:!?|]", re.sub("['\u2019]", "", prompt.lower()))
    rest = _take_phrases(words, found)
    for attribute, value in (*_free_motion(rest), *_free_background(rest), *_free_light(rest)):
        found[attribute].add(value)
    if found.pop("smiles"):
        other = found["motion"] or found["expression"] - {"neutral"}
        found["expression" if other else "motion"].add("smiling" if other else "smile")
    return {attribute: values.pop() for attribute, values in found.items() if len(values) == 1}


_NEGATIONS = frozenset(("not", "no", "never", "without", "dont", "doesnt", "isnt", "cannot"))


@cache
def _lexicon() -> Mapping[tuple[str, ...], Mapping[str, str]]:
    """Every phrase of the tables as words, in every form, with what it names."""
    made: dict[tuple[str, ...], Mapping[str, str]] = {}

    def add(phrase: str | None, **named: str) -> None:
        if phrase:
            made[tuple(re.findall(r"\w+", phrase))] = named

    for motion, phrases in PHRASES["motion"].items():
        for phrase in phrases:
            add(phrase, motion=motion)
            add(participle(phrase), motion=motion)
    add("smiles", smiles="smiles")
    add("smile", smiles="smiles")
    for expression, phrases in PHRASES["expression"].items():
        for phrase in phrases:
            add(phrase, expression=expression)
    for background, templates in PHRASES["background"].items():
        for template in templates:
            for colour, word in _words_of("colour"):
                add(fill(template, colour=word), background=background, colour=colour)
    for light_from, templates in PHRASES["light_from"].items():
        for template in templates:
            add(fill(template), light_from=light_from)
            for light, word in _words_of("light_colour") if "{light}" in template else ():
                add(fill(template, light=word), light_from=light_from, light_colour=light)
    return made


def _words_of(attribute: str) -> Iterator[tuple[str, str]]:
    for value, words in PHRASES[attribute].items():
        for word in words:
            yield value, word


def _take_phrases(words: list[str], found: dict[str, set[str]]) -> str:
    """Adds what phrases of the tables name to `found` -> the prompt with a bar for each of them."""
    lexicon = _lexicon()
    rest, taken = [*words], []
    for length in range(max(map(len, lexicon)), 0, -1):
        for start in range(len(rest) - length + 1):
            named = lexicon.get(tuple(rest[start : start + length]))
            if named is None:
                continue
            rest[start : start + length] = ["|"] * length
            taken.append((start, named))
    for start, named in taken:
        # Looked up when all are taken: the "not" of "does not move" denies nothing that follows it.
        if not _NEGATIONS.intersection(rest[max(start - 2, 0) : start]):
            for attribute, value in named.items():
                found[attribute].add(value)
    return " ".join(rest)


_TURN = r"\b(?:turn|look|rotat|glanc|gaz|fac|star|peer)(?:s|es|e|ing)?\b(?: (?!and\b|light|lit\b|lamp|sun)\w+){0,6}?"
_BOTH_SIDES = re.compile(_TURN + r" (?:left|right)(?: ,)?(?: and| then| to| or)+(?: the)?(?: left| right)\b")
_ONE_SIDE = re.compile(_TURN + r" (left|right)\b(?! (?:at|into)\b)")
_FREE_MOTIONS = {
    "nod": r"nod(?:s|ding)?",
    "tilt": r"(?:tilt|tip|cock|lean|inclin)(?:s|es|e|ping|ing)?(?: \w+)? head|head tilt(?:s|ing|ed)?|tilt(?:s|ing)?",
    "look_around": r"look(?:s|ing)?(?: all)? (?:around|about)",
    "talk": r"talk(?:s|ing)?|speak(?:s|ing)?|chat(?:s|ting)|say(?:s|ing)",
    "blink": r"blink(?:s|ing)?",
    "still": r"motionless|(?:keep|stay|stand|sit|hold)(?:s|ing)? (?:very |perfectly )?still|(?:not|without) moving",
}
_FREE_EXPRESSIONS = {
    "neutral": r"neutral (?:expression|look)|expressionless|serious",
    "smiling": r"smil(?:e|ing)|grins?|cheerfully|happily|laugh(?:s|ing)?",
    "surprised": r"surprise|surprise[ds]ly|astonishment|shocked",
    "frowning": r"frowns?|scowls?|angry|angrily",
}


def _free_motion(rest: str) -> Iterator[tuple[str, str]]:
    """Motions and expressions in looser words, as in "is nodding" or "turning slowly to the left"."""
    yield from (("motion", "look_around") for _ in _kept(_BOTH_SIDES, rest))
    for match in _kept(_ONE_SIDE, _BOTH_SIDES.sub("|", rest)):
        yield "motion", f"turn_{match[1]}"
    for attribute, table in (("motion", _FREE_MOTIONS), ("expression", _FREE_EXPRESSIONS)):
        for value, pattern in table.items():
            yield from ((attribute, value) for _ in _kept(re.compile(rf"\b(?:{pattern})\b"), rest))


def _kept(pattern: re.Pattern[str], rest: str) -> Iterator[re.Match[str]]:
    """Matches that no negation stands before."""
    for match in pattern.finditer(rest):
        if not _NEGATIONS.intersection(rest[: match.start()].split()[-2:]):
            yield match


_COLOUR = "(?:" + "|".join(word for word in sorted((w for _, w in _words_of("colour")), key=len, reverse=True)) + ")"
_PATTERN = r"(?:stripes?|striped|stripy|dots?|dotted|spotted|polka|gradient|plain|solid)"
_BACK = rf"(?:background|backdrop|wall|wallpaper|{_PATTERN})"
_COLOURED = re.compile(rf"\b({_COLOUR}(?:(?: ,| and| or)+ {_COLOUR})*)(?: ,)?(?: {_PATTERN})* {_BACK}\b")
_COLOUR_AFTER = re.compile(rf"\b{_BACK}(?: (?:is|in|of))? ({_COLOUR})\b")
_PATTERNED = {
    "plain": rf"(?:plain|solid)(?: ,)?(?: {_COLOUR}| (?:background|backdrop|wall|wallpaper))",
    "gradient": r"gradient",
    "stripes": r"striped|stripes|stripy",
    "dots": r"dotted|dots|polka",
}


def _free_background(rest: str) -> Iterator[tuple[str, str]]:
    """Backgrounds in looser words; a colour counts only beside the word for one ("a blue shirt" is none)."""
    value_of = {word: value for value, word in _words_of("colour")}
    for pattern in (_COLOURED, _COLOUR_AFTER):
        for match in pattern.finditer(rest):
            yield from (("colour", value_of[word]) for word in re.findall(rf"\b{_COLOUR}\b", match[1]))
    for value, pattern in _PATTERNED.items():
        yield from (("background", value) for _ in _kept(re.compile(rf"\b(?:{pattern})\b"), rest))


_LAMP = r"(?:light|lights|lighting|lit|lamp|glow|sun|sunlight|illuminated)"
_LIGHT_FROM = re.compile(rf"\b{_LAMP}(?: \w+){{0,2}}? (?:from|on|at)(?: the)? (left|right|above|overhead|top|front)\b")
_LIGHT_COLOUR = re.compile(rf"\b({'|'.join(word for _, word in _words_of('light_colour'))})(?: \w+)? {_LAMP}\b")
_SIDES = {"left": "left", "right": "right", "above": "above", "overhead": "above", "top": "above", "front": "front"}


def _free_light(rest: str) -> Iterator[tuple[str, str]]:
    """The light in looser words, as in "a warm light that comes from the left"."""
    value_of = {word: value for value, word in _words_of("light_colour")}
    yield from (("light_from", _SIDES[match[1]]) for match in _LIGHT_FROM.finditer(rest))
    yield from (("light_colour", value_of[match[1]]) for match in _LIGHT_COLOUR.finditer(rest))
