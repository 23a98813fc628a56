"""Configs as JSON objects: strict both ways, through pydantic."""

from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from fantasyid_engine.errors import ConfigError

T = TypeVar("T")


def to_json_object(config: Any) -> dict[str, Any]:
    """A config dataclass -> what `json.dumps` takes."""
    return TypeAdapter(type(config)).dump_python(config, mode="json")


def from_json_object(kind: type[T], values: Any, source: Path) -> T:
    """A parsed JSON object -> config of class `kind`.

    Raises:
        ConfigError: unknown fields, wrong types or values that do not fit, in one line that names the first of them.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        raise ConfigError(f"{source}: {place + ': ' if place else ''}{first['msg']}{more}") from None
