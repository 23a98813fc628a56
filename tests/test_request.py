"""What a request refuses, by its code, and how a prompt is read."""

import math
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.request import LARGEST_SEED, MOST_STEPS, VideoRequest, bare, check_consent

REQUEST = VideoRequest(image="face.png", prompt="smiles")
REFUSED = [
    ("image_missing", {"image": ""}),
    ("image_missing", {"image": b""}),
    ("image_missing", {"image": Path()}),
    ("image_missing", {"image": None}),
    ("prompt_empty", {"prompt": ""}),
    ("prompt_empty", {"prompt": " \n\t"}),
    ("prompt_empty", {"prompt": ' " " '}),
    ("prompt_invalid", {"prompt": None}),
    ("prompt_invalid", {"prompt": b"smiles"}),
    ("prompt_invalid", {"prompt": "a\0b"}),
    ("prompt_invalid", {"prompt": "a\ud800"}),
    ("prompt_invalid", {"negative_prompt": None}),
    ("prompt_invalid", {"negative_prompt": "\0"}),
    ("seed_invalid", {"seed": -1}),
    ("seed_invalid", {"seed": LARGEST_SEED + 1}),
    ("seed_invalid", {"seed": 1.0}),
    ("seed_invalid", {"seed": True}),
    ("seed_invalid", {"seed": "7\n"}),
    ("steps_invalid", {"num_inference_steps": 0}),
    ("steps_invalid", {"num_inference_steps": MOST_STEPS + 1}),
    ("steps_invalid", {"num_inference_steps": 2.5}),
    ("guidance_invalid", {"guidance_scale": 0.99}),
    ("guidance_invalid", {"guidance_scale": 100.01}),
    ("guidance_invalid", {"guidance_scale": math.nan}),
    ("guidance_invalid", {"guidance_scale": math.inf}),
    ("guidance_invalid", {"guidance_scale": True}),
    ("guidance_invalid", {"guidance_scale": "6\n"}),
    ("frames_unsupported", {"num_frames": 0}),
    ("frames_unsupported", {"num_frames": -9}),
    ("frames_unsupported", {"num_frames": 10_001}),
    ("frames_unsupported", {"num_frames": np.int64(9)}),
    ("face_index", {"face_index": 0}),
    ("face_index", {"face_index": "smallest"}),
    ("deca_input", {"deca_input": "photo"}),
    ("face_settings", {"face": "me.safetensors"}),
    ("face_settings", {"image": None, "face": "me.safetensors", "deca_input": "released"}),
    *(("face_settings", {"image": None, "face": b"x"} | more) for more in ({"vertices": b"x"}, {"face_index": 1})),
    ("face_settings", {"image": None, "face": b"x", "shape": {"jaw": 1.0}}),
    *(("consent_invalid", {"consent_ref": value}) for value in ("", " ", "x" * 257, "a\nb", "a\0", "\ud800", 5, b"x")),
    ("bit_depth", {"bit_depth": 10}),
    ("bit_depth", {"bit_depth": None}),
    ("bit_depth", {"bit_depth": "8"}),
    ("bit_depth", {"bit_depth": 8.0}),
    *(("shape_invalid", {"shape": {"jaw": 0.5, "chin": value}}) for value in (5.01, -6, math.nan, math.inf)),
    *(("shape_invalid", {"shape": {"chin": value}}) for value in (True, "1", None, np.float64(1))),
    *(("shape_invalid", {"shape": value}) for value in ("jaw=1", ["jaw"], 1.0, {3: 1.0}, {None: 1.0})),
]


@pytest.mark.parametrize(("code", "values"), REFUSED, ids=[f"{code}-{values}" for code, values in REFUSED])
def test_refused(code: str, values: dict[str, Any]) -> None:
    with pytest.raises(InputError) as error:
        replace(REQUEST, **values)
    assert error.value.code == code and error.value.exit_code == 65
    message = str(error.value)
    assert message.isprintable() and message
    (name, value) = next(iter(values.items()))
    if code in ("seed_invalid", "steps_invalid", "frames_unsupported", "guidance_invalid", "bit_depth", "face_index"):
        assert message.startswith(f"{name} is {value!r}; it must be ")
    elif isinstance(value, dict) and "chin" in value:
        assert message == f"shape 'chin' is {value['chin']!r}; it must be a number from -5 to 5"


def test_the_message_names_which_prompt() -> None:
    with pytest.raises(InputError, match=r"^the negative_prompt is no text"):
        replace(REQUEST, negative_prompt="\0")


@pytest.mark.parametrize(
    "values",
    [
        {"image": b"bytes of a picture"},
        {"image": Path("face.png")},
        {"prompt": "漢é 🙂"},
        {"prompt": 'a "quoted" word'},
        {"negative_prompt": ""},
        {"seed": 0},
        {"seed": LARGEST_SEED},
        {"num_inference_steps": 1},
        {"num_inference_steps": MOST_STEPS},
        {"guidance_scale": 1},
        {"guidance_scale": 1.0},
        {"guidance_scale": 100},
        {"num_frames": 1},
        {"face_index": 1},
        {"face_index": "largest"},
        {"face_index": "center"},
        {"deca_input": "released"},
        {"image": None, "face": Path("me.safetensors")},
        {"bit_depth": 16},
        {"consent_ref": "é" * 256},
        {"shape": {"jaw": 5, "chin": -5.0, "ears": 0}},
        {"shape": MappingProxyType({"jaw": 1.5})},
    ],
    ids=str,
)
def test_taken(values: dict[str, Any]) -> None:
    made = replace(REQUEST, **values)
    assert all(getattr(made, name) == value for name, value in values.items())


def test_what_is_left_open() -> None:
    """The model decides; without a seed one is drawn."""
    names = ("vertices", "seed", "num_inference_steps", "guidance_scale", "num_frames", "face_index", "shape")
    assert [getattr(REQUEST, name) for name in (*names, "consent_ref")] == [None] * 8
    assert (REQUEST.negative_prompt, REQUEST.bit_depth) == ("", 8)


def test_a_consent_that_is_required() -> None:
    named = replace(REQUEST, consent_ref="contract 5")
    check_consent(REQUEST, required=False)
    check_consent(named, required=True)
    with pytest.raises(InputError, match="names no consent") as error:
        check_consent(REQUEST, required=True)
    assert error.value.code == "consent_required"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        REQUEST.seed = 3  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="positional"):
        VideoRequest("face.png", "smiles")  # pyright: ignore[reportCallIssue]


def test_a_shape_is_kept_as_it_was_given() -> None:
    """As floats, in a copy; an empty one is none."""
    given = {"jaw": 1, "chin": -0.5}
    made = replace(REQUEST, shape=given)
    given["jaw"] = 9
    assert made.shape == {"jaw": 1.0, "chin": -0.5} and all(type(value) is float for value in made.shape.values())
    assert replace(REQUEST, shape={}) == REQUEST


def test_it_can_be_a_key() -> None:
    one, same, other = (replace(REQUEST, shape={"jaw": value}) for value in (1, 1.0, 2.0))
    assert {one: "found"}[same] == "found" and {one, same, other, REQUEST} == {one, other, REQUEST}
    assert len({one, same, other, REQUEST}) == 3


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("smiles", "smiles"),
        ("  smiles\n", "smiles"),
        ('"smiles"', "smiles"),
        (' " smiles " ', "smiles"),
        ('""smiles""', "smiles"),
        ('she says "hello"', 'she says "hello'),
        ('a "quoted" word', 'a "quoted" word'),
        ("'smiles'", "'smiles'"),
        ("", ""),
        ('"', ""),
        ('" "', ""),
    ],
)
def test_bare(prompt: str, expected: str) -> None:
    """As the release reads a prompt: `strip().strip('"').strip()`."""
    assert bare(prompt) == expected
