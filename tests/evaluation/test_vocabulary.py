"""The tables are whole, and a prompt is read as a person reads it."""

import re

import pytest

from fantasyid_engine.evaluation.vocabulary import (
    LIGHT_ALONE,
    PHRASES,
    VALUES,
    Attributes,
    attributes_in,
    fill,
    goes_with,
    participle,
)

GOOD = {
    "motion": "nod",
    "expression": "neutral",
    "background": "plain",
    "colour": "red",
    "light_from": "left",
    "light_colour": "warm",
}


def test_attributes_take_every_value():
    for name, values in VALUES.items():
        for value in values:
            assert getattr(Attributes(**{**GOOD, name: value}), name) == value


@pytest.mark.parametrize("name", VALUES)
def test_attributes_refuse_other_values(name):
    with pytest.raises(ValueError, match=f"{name} is 'loud'; it must be one of {', '.join(VALUES[name])}"):
        Attributes(**{**GOOD, name: "loud"})


def test_attributes_refuse_what_does_not_go_together():
    refused = {(m, e) for m in VALUES["motion"] for e in VALUES["expression"] if not goes_with(m, e)}
    assert refused == {("smile", "smiling"), ("smile", "surprised"), ("smile", "frowning"), ("talk", "surprised")}
    for motion, expression in refused:
        with pytest.raises(ValueError, match=f"expression is '{expression}'; with motion '{motion}'"):
            Attributes(**{**GOOD, "motion": motion, "expression": expression})


def test_every_value_has_phrases():
    assert PHRASES.keys() == VALUES.keys()
    for name, values in VALUES.items():
        assert tuple(PHRASES[name]) == values
        for phrases in PHRASES[name].values():
            assert len(set(phrases)) == len(phrases) >= (3 if name == "colour" else 5)
    assert all("{colour}" in phrase for phrases in PHRASES["background"].values() for phrase in phrases)


def test_no_phrase_stands_for_two_values():
    for name in VALUES:
        phrases = [phrase for phrases in PHRASES[name].values() for phrase in phrases]
        assert len(set(phrases)) == len(phrases)


@pytest.mark.parametrize("motion", VALUES["motion"])
def test_reads_every_motion(motion):
    for phrase in PHRASES["motion"][motion]:
        assert attributes_in(f"Someone {phrase}.") == {"motion": motion}
        doing = participle(phrase)
        assert (doing is None) == (phrase.split()[0] in ("smiles", "does"))
        if doing:
            assert attributes_in(f"someone who is {doing}") == {"motion": motion}


@pytest.mark.parametrize("background", VALUES["background"])
@pytest.mark.parametrize("colour", VALUES["colour"])
def test_reads_every_background(background, colour):
    for template in PHRASES["background"][background]:
        for word in PHRASES["colour"][colour]:
            prompt = fill(template, colour=word)
            assert attributes_in(prompt) == {"background": background, "colour": colour}, prompt


@pytest.mark.parametrize("light_from", VALUES["light_from"])
@pytest.mark.parametrize("light_colour", VALUES["light_colour"])
def test_reads_every_light(light_from, light_colour):
    for word in PHRASES["light_colour"][light_colour]:
        for template in PHRASES["light_from"][light_from]:
            prompt = fill(template, light=word)
            named = {"light_from": light_from} | ({"light_colour": light_colour} if "{light}" in template else {})
            assert attributes_in(prompt) == named, prompt
            assert attributes_in(fill(template)) == {"light_from": light_from}
        for template in LIGHT_ALONE:
            assert attributes_in(fill(template, light=word)) == {"light_colour": light_colour}


@pytest.mark.parametrize("expression", VALUES["expression"])
def test_reads_every_expression(expression):
    for phrase in PHRASES["expression"][expression]:
        assert attributes_in(f"a person, {phrase}") == {"expression": expression}


@pytest.mark.parametrize(
    ("prompt", "named"),
    [
        ("", {}),
        ("a person", {}),
        ("NODDING!!", {"motion": "nod"}),
        ("the person turns the head to the left and smiles", {"motion": "turn_left", "expression": "smiling"}),
        ("she smiles", {"motion": "smile"}),
        ("she is smiling", {"expression": "smiling"}),
        ("he is talking", {"motion": "talk"}),
        ("She looks left.", {"motion": "turn_left"}),
        ("he slowly turns his head over to the right", {"motion": "turn_right"}),
        ("turning - slowly - to the left", {"motion": "turn_left"}),
        ("looks left, then right", {"motion": "look_around"}),
        ("light from the left", {"light_from": "left"}),
        ("looks into the light from the left", {"light_from": "left"}),
        ("looks right into the camera", {}),
        ("turns left, light from the right", {"motion": "turn_left", "light_from": "right"}),
        ("warm light coming from the left", {"light_from": "left", "light_colour": "warm"}),
        ("a warm cup", {}),
        ("blue background", {"colour": "blue"}),
        ("in front of a plain blue wall", {"background": "plain", "colour": "blue"}),
        ("a striped, blue background", {"background": "stripes", "colour": "blue"}),
        ("a green-dotted wall", {"background": "dots", "colour": "green"}),
        ("in a blue shirt in front of red stripes", {"background": "stripes", "colour": "red"}),
        ("a blue hat", {}),
        ("doesn't blink", {}),
        ("keeps still without blinking", {"motion": "still"}),
        ("does not move, smiling", {"motion": "still", "expression": "smiling"}),
        ("talks with a surprised face", {"motion": "talk", "expression": "surprised"}),
        ("a noddy, blinkered and talkative person", {}),
    ],
)
def test_reads_what_people_write(prompt, named):
    assert attributes_in(prompt) == named


@pytest.mark.parametrize(
    ("prompt", "left_out"),
    [
        ("nods and then blinks", "motion"),
        ("turns to the left, then turns to the right side and nods", "motion"),
        ("red and blue stripes", "colour"),
        ("smiling, then frowning", "expression"),
        ("against red stripes, on green dots", "background"),
        ("lit from the left, lit from above", "light_from"),
        ("warm light, cool light", "light_colour"),
    ],
)
def test_contradictions_are_left_out(prompt, left_out):
    assert left_out not in attributes_in(prompt)


def test_articles():
    assert fill("on a {colour} wall", colour="orange") == "on an orange wall"
    assert fill("a {light} glow from above") == "a glow from above"
    assert not re.search(r"\ba [aeiou]", fill("a {light} glow", light="icy"))
