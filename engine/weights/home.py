"""Where models that are named, not pointed to, are kept."""

import os
from pathlib import Path


def model_home() -> Path:
    """`$FANTASYID_MODELS`, or `~/.cache/fantasyid-engine/models`."""
    named = os.environ.get("FANTASYID_MODELS")
    return Path(named) if named else Path.home() / ".cache" / "fantasyid-engine" / "models"
