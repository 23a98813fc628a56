"""What a scenario of the soak test comes to."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """Figures of a scenario, and whether they are what was asked for."""

    asked: str
    figures: dict[str, Any]
    passed: bool
