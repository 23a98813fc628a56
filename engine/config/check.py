"""What a configuration class is, and one way to say that a value is wrong: field, value, and what is allowed."""

import math
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Makes a frozen, keyword-only, slotted dataclass that refuses unknown fields when it is read from JSON."""
    made = dataclass(frozen=True, kw_only=True, slots=True)(cls)
    made.__pydantic_config__ = {"extra": "forbid"}  # pyright: ignore[reportAttributeAccessIssue]
    return made


def positive(owner: Any, *names: str, most: int = 1_000_000) -> None:
    """Raises ValueError for the first of `names` that is not an integer from 1 to `most`."""
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise ValueError(f"{type(owner).__name__}.{name} is {value!r}; it must be an integer from 1 to {most}")


def all_positive(owner: Any, name: str, most: int = 1_000_000) -> None:
    """Raises ValueError unless field `name` is a tuple of integers from 1 to `most`, and not empty."""
    values = getattr(owner, name)
    if (
        not isinstance(values, tuple)
        or not values
        or not all(type(value) is int and 1 <= value <= most for value in values)
    ):
        raise ValueError(
            f"{type(owner).__name__}.{name} is {values!r}; it must be a tuple of integers from 1 to {most}"
        )


def above_zero(owner: Any, *names: str) -> None:
    """Raises ValueError for the first of `names` that is not a finite number above 0."""
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"{type(owner).__name__}.{name} is {value!r}; it must be a finite number above 0")


def one_of(owner: Any, name: str, allowed: tuple[Any, ...]) -> None:
    """Raises ValueError when field `name` is none of `allowed`."""
    value = getattr(owner, name)
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{type(owner).__name__}.{name} is {value!r}; it must be one of {choices}")


def holds(owner: Any, name: str, condition: bool, allowed: str) -> None:
    """Raises ValueError that says what field `name` must be, unless `condition` holds."""
    if not condition:
        raise ValueError(f"{type(owner).__name__}.{name} is {getattr(owner, name)!r}; it must be {allowed}")


def agree(owner: Any, one: tuple[str, Any], other: tuple[str, Any]) -> None:
    """Raises ValueError unless two (name, value) pairs of a config have equal values."""
    if one[1] != other[1]:
        raise ValueError(f"{type(owner).__name__}: {one[0]} is {one[1]!r}; {other[0]} is {other[1]!r}; they must agree")
