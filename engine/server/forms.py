"""Form fields -> the values that a JSON body would hold.

    prompt=...  seed=7  shape[jaw]=1.5  list[]=a  list[]=b  extra_body={"fps": 8}  extra_params={...}

Clients of OpenAI's API send `extra_body` as fields of their own, nested with brackets; other servers take it as one
field of JSON, named `extra_body` or `extra_params`. All are taken, in forms and in JSON alike.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from fantasyid_engine.server.errors import bad

NESTED = ("extra_body", "extra_params")
MOST_DEPTH = 5
INTEGERS = {"seed", "num_inference_steps", "num_frames", "fps", "priority", "face_index"}
NUMBERS = {"guidance_scale", "shape"}
"""Fields whose text is a number; of `shape`, each of its values."""
INTEGER = re.compile(r"[+-]?\d{1,18}")
NUMBER = re.compile(r"[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})([eE][+-]?\d{1,2})?")
KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def from_form(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Names and texts of form fields, as one object; numbers are made of fields that hold some.

    Raises:
        ApiError: a name that is not to be understood, or one that is there twice.
    """
    fields: dict[str, Any] = {}
    for name, text in pairs:
        match = KEY.fullmatch(name)
        parts = re.findall(r"\[([^\[\]]*)\]", match[2]) if match else []
        if match is None or len(parts) > MOST_DEPTH:
            raise bad("invalid_parameter", f"the field {name[:100]!r} has no name that can be read", name[:100])
        field = parts[0] if match[1] in NESTED and parts else match[1]
        _put(fields, [match[1], *parts], _typed(field, text), name)
    return fields


def with_extras(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields with those of `extra_body` and `extra_params` beside them.

    Raises:
        ApiError: an extra that is no JSON object, or names a field that is there already.
    """
    merged = {name: value for name, value in fields.items() if name not in NESTED}
    for extra in NESTED:
        value = fields.get(extra)
        if isinstance(value, str):
            value = loads(value, extra)
        if value is None:
            continue
        if not isinstance(value, dict):
            raise bad("invalid_parameter", f"{extra} must be a JSON object of further parameters", extra)
        for name, inner in value.items():
            if name in merged:
                raise bad("duplicate_parameter", f"{name[:100]} is given twice, in {extra} and beside it", name)
            merged[name] = inner
    return merged


def loads(text: str | bytes | bytearray, what: str) -> Any:
    """JSON as its standard has it, without NaN and infinities.

    Raises:
        ApiError: it is none.
    """

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise bad("invalid_json", f"{what} is nested too deeply") from None
    except ValueError as error:
        where = f" at line {error.lineno} column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise bad("invalid_json", f"{what} is no JSON that can be read{where}") from None


def _typed(name: str, text: str) -> int | float | str:
    if name in INTEGERS and INTEGER.fullmatch(text):
        return int(text)
    if name in NUMBERS and NUMBER.fullmatch(text):
        return float(text)
    return text


def _put(fields: dict[str, Any], parts: list[str], value: int | float | str, name: str) -> None:
    """`[a]` goes into an object, `[]` to the end of a list."""
    place: Any = fields
    for part, inner in zip(parts, [*parts[1:], None], strict=True):
        if part == "" and isinstance(place, list):
            made = value if inner is None else [] if inner == "" else {}
            place.append(made)
            place = made
        elif part and isinstance(place, dict) and (inner is not None or part not in place):
            place = place.setdefault(part, value if inner is None else [] if inner == "" else {})
        else:
            raise bad("duplicate_parameter", f"the field {name[:100]!r} is given twice, in ways that clash", parts[0])
