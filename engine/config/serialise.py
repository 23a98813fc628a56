"""Configs as JSON objects, through pydantic; reading is strict: no unknown fields, no conversions."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fantasyid_engine.errors import ConfigError, EngineError

T = TypeVar("T")

MAX_BYTES = 16 << 20
"""No configuration, index, manifest or sidecar is larger."""


def read_json_object(path: Path, error: type[EngineError]) -> dict[str, Any]:
    """Reads a JSON file that holds an object; raises `error` where it cannot be read or holds something else."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
        values = json.loads(data.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as problem:
        reason = getattr(problem, "strerror", None) or f"{type(problem).__name__}: {problem}"
        raise error(f"{path} cannot be read: {reason}") from None
    if not isinstance(values, dict):
        raise error(f"{path} is no JSON object")
    return values


def to_json_object(config: Any) -> dict[str, Any]:
    """A config dataclass -> what `json.dumps` takes."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def from_json_object(kind: type[T], values: Any, source: Path) -> T:
    """A parsed JSON object -> config of class `kind`.

    Raises:
        ConfigError: unknown fields, wrong types or values that do not fit, in one line that names the first of them.
    """
    try:
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] != "value_error" and isinstance(first["input"], str | int | float | None):
            reason += f", not {first['input']!r}"
        place = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {place + ': ' if place else ''}{reason}{more}") from None
