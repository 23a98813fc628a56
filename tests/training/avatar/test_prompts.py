"""Prompts say what the attributes are, in few bytes and many words, and nothing of who the person is."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from fantasyid_engine.evaluation.vocabulary import VALUES, attributes_in, goes_with
from fantasyid_engine.training.avatar.prompts import draw_attributes, write_named_prompt, write_prompt

UNSAID = {"expression": "neutral", "light_from": "front", "light_colour": "neutral"}
IDENTITY = """
    man men woman women boy boys girl girls guy lady gentleman male female he she his her him hers they their them
    old young elderly teen teenage adult child kid baby age aged year years middle senior
    hair haired blond blonde brunette bald beard bearded moustache mustache curly ponytail fringe bun braid ginger
    skin skinned pale tanned dark black brown fair complexion freckles freckled asian african european ethnic
    glasses spectacles nose lips chin cheeks jaw ears earring makeup lipstick hat cap shirt
    tall short thin fat slim chubby handsome pretty beautiful ugly named called
"""


def test_prompts_name_exactly_what_they_say():
    rng = np.random.default_rng(0)
    for _ in range(3000):
        attributes = draw_attributes(rng)
        prompt, named = write_named_prompt(attributes, rng)
        assert attributes_in(prompt) == named, prompt
        for name in VALUES:
            value = getattr(attributes, name)
            assert named.get(name, value) == value, prompt
            assert name in named or UNSAID.get(name) == value, prompt


def test_what_needs_no_word_is_said_at_times():
    rng = np.random.default_rng(1)
    said, could = Counter(), Counter()
    for _ in range(1500):
        attributes = draw_attributes(rng)
        named = attributes_in(write_prompt(attributes, rng))
        for name, value in UNSAID.items():
            if getattr(attributes, name) == value:
                case = (name, attributes.motion == "smile")
                could[case] += 1
                said[case] += name in named
    for case, times in could.items():
        assert 0.1 < said[case] / times < 0.9, case


@pytest.mark.parametrize("max_bytes", [64, 72, 96])
def test_prompts_fit(max_bytes):
    rng = np.random.default_rng(2)
    lengths = []
    for motion in VALUES["motion"]:
        for expression in (value for value in VALUES["expression"] if goes_with(motion, value)):
            for _ in range(24):
                attributes = replace(draw_attributes(rng), motion=motion, expression=expression)
                prompt = write_prompt(attributes, rng, max_bytes)
                lengths.append(len(prompt.encode()))
                assert lengths[-1] <= max_bytes, prompt
                named = attributes_in(prompt)
                assert {"motion", "background", "colour"} <= named.keys(), prompt
                for name, value in named.items():
                    assert getattr(attributes, name) == value
    assert np.median(lengths) < 0.9 * max_bytes or max_bytes < 96


def test_too_little_room_is_refused():
    attributes = draw_attributes(np.random.default_rng(0))
    with pytest.raises(ValueError, match="max_bytes is 12"):
        write_prompt(attributes, np.random.default_rng(0), 12)


def test_prompts_are_many_and_well_formed():
    rng = np.random.default_rng(3)
    prompts = [write_prompt(draw_attributes(rng), rng) for _ in range(10_000)]
    assert len(set(prompts)) >= 9000
    words = Counter(word for prompt in prompts for word in re.findall(r"[a-z]+", prompt.lower()))
    assert not set(words) & set(IDENTITY.split())
    for prompt in prompts:
        assert prompt.isascii() and re.fullmatch(r"[A-Za-z][A-Za-z]*(?:[,:]? [A-Za-z]+|-[a-z]+)*\.?", prompt), prompt
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", prompt.lower()), prompt
    assert 0.2 < np.mean([prompt[0].isupper() for prompt in prompts]) < 0.8
    whole = Counter(prompt.lower().rstrip(".").split(" ")[-1] for prompt in prompts)
    assert not set(whole) & {"a", "an", "the", "on", "with", "from", "in", "who", "is"}, "cut off"


def test_one_combination_has_many_prompts():
    rng = np.random.default_rng(4)
    attributes = draw_attributes(rng)
    assert len({write_prompt(attributes, rng) for _ in range(500)}) > 300


def test_draws_are_balanced():
    rng = np.random.default_rng(5)
    drawn = [draw_attributes(rng) for _ in range(3600)]
    for name in ("motion", "background", "colour", "light_from", "light_colour"):
        counts = Counter(getattr(attributes, name) for attributes in drawn)
        expected = len(drawn) / len(VALUES[name])
        assert counts.keys() == set(VALUES[name])
        assert all(0.8 * expected < count < 1.2 * expected for count in counts.values()), counts
    expressions = Counter(attributes.expression for attributes in drawn if attributes.motion == "nod")
    assert all(60 < expressions[value] < 140 for value in VALUES["expression"])


def test_same_seed_same_prompts():
    first, second = (
        [write_prompt(draw_attributes(rng), rng) for _ in range(50)]
        for rng in (np.random.default_rng(7), np.random.default_rng(7))
    )
    assert first == second
