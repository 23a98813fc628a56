"""One part of a run's avatar clips, rendered by a process of its own: `python -m` this, with what to do as JSON.

{"folder": "...", "world": {...}, "start": 0, "count": 1000, "threads": 1, "how": {...}}      see `avatar_parts`
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from fantasyid_engine.errors import EngineError
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar import build_avatar_shards


def render_part(work: dict[str, Any]) -> None:
    """Renders it; see `avatar_parts` for what `work` holds."""
    torch.set_num_threads(work["threads"])
    world = World(**work["world"])
    parent = os.getppid()

    def alone(done: int, total: int) -> None:
        if os.getppid() != parent:
            sys.exit("whoever started this is gone")

    build_avatar_shards(Path(work["folder"]), world, work["count"], start=work["start"], **work["how"], on_sample=alone)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        render_part(json.load(sys.stdin))
    except EngineError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
