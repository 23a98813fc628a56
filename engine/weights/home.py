"""Where models that are named, not pointed to, are kept."""

import os
from pathlib import Path

DOWNLOADS = ".downloads"
"""In the models' home: what `weights pull` has fetched and not yet made a model of."""
PIN = "source.json"
"""In a folder of `DOWNLOADS`, and in the model made of it: repository, commit, files with size and digest."""


def model_home() -> Path:
    """`$FANTASYID_MODELS`, or `~/.cache/fantasyid-engine/models`."""
    named = os.environ.get("FANTASYID_MODELS")
    return Path(named) if named else Path.home() / ".cache" / "fantasyid-engine" / "models"
