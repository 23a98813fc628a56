"""A clip to change, and what every refusal must be."""

from collections.abc import Callable
from typing import Any

import pytest

from fantasyid_engine.errors import InputError
from fantasyid_engine.training.data.manifest import Clip


def clip(**changed: Any) -> Clip:
    values = {
        "key": "a",
        "video": "a.mp4",
        "start": 0,
        "frames": None,
        "prompt": "A woman is talking.",
        "person": "a",
        "source": "drawn",
        "box": None,
    }
    return Clip(**{**values, **changed})


def refused(code: str, name: str, call: Callable[..., Any], *arguments: Any) -> str:
    """`call` must raise an InputError of this code, in one line that holds `name`; gives the line."""
    with pytest.raises(InputError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert caught.value.code == code, message
    assert message.isprintable() and name in message and len(message) <= 500, message
    return message
