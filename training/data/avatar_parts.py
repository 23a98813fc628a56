"""A run's avatar clips in parts, each a folder of shards, so that rendering goes on where it stopped.

    data/train/part-0000   clips 0 to 999       whole or not there
               part-0001   clips 1000 to 1999

A GPU renders one part after the other in this process; cores get a process each.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any, cast

import torch
from torch.utils.data import ConcatDataset

from fantasyid_engine.errors import OutputError, ResourceError, WriteError
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar import build_avatar_shards
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples

PART = 1000
"""Clips a part."""
_POLL_S = 0.5


def open_parts(folders: Sequence[Path]) -> Sequence[TrainingSample]:
    """Samples of several folders, one after the other; raises InputError as `ShardedSamples` does."""
    joined: Any = ConcatDataset([cast("Any", ShardedSamples(folder)) for folder in folders])
    return joined


def part_folders(folder: Path, count: int) -> list[Path]:
    """The parts of `count` clips."""
    return [folder / f"part-{number:04d}" for number in range(-(-count // PART))]


def render_parts(
    folder: Path,
    world: World,
    count: int,
    how: dict[str, Any],
    device: torch.device,
    tell: Callable[[int, int], None],
) -> None:
    """Renders the parts that are not there yet.

    Args:
        folder: holds the parts.
        world: who does what.
        count: clips in all.
        how: further arguments of `build_avatar_shards`: sizes, views, share of edits.
        device: where to render.
        tell: hears of the clips that are there, and of all; raising in it stops.

    Raises:
        OutputError: a part cannot be written.
        ResourceError: a process was killed, as it is where memory runs out, or broke.
    """
    left = [(path, PART * n) for n, path in enumerate(part_folders(folder, count)) if not path.is_dir()]
    if not left:
        return
    work = [(path, start, min(PART, count - start)) for path, start in left]
    if len(work) == 1 or device.type != "cpu":
        for path, start, size in work:
            heard = partial(_heard, tell, start, count)
            build_avatar_shards(path, world, size, start=start, **how, device=device, on_sample=heard)
        return
    jobs = [
        {"folder": str(path), "world": asdict(world), "start": start, "count": size, "threads": 1, "how": how}
        for path, start, size in work
    ]
    done = count - sum(size for _, _, size in work)
    with _workers(jobs, min(len(jobs), len(os.sched_getaffinity(0)))) as running:
        while running():
            ready = done + sum(size for path, _, size in work if path.is_dir())
            tell(ready, count)
            sleep(_POLL_S)
    tell(count, count)


def _heard(tell: Callable[[int, int], None], start: int, count: int, done: int, of_part: int) -> None:
    tell(start + done, count)


@contextmanager
def _workers(jobs: Sequence[dict[str, Any]], most: int) -> Iterator[Callable[[], bool]]:
    """Runs a process a job, so many at a time -> asks whether any is left; all end with the block."""
    waiting, running = list(jobs), list[subprocess.Popen[str]]()

    def going() -> bool:
        for process in list(running):
            if process.poll() is not None:
                running.remove(process)
                _check(process)
        while waiting and len(running) < most:
            running.append(_start(waiting.pop(0)))
        return bool(running)

    try:
        yield going
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.communicate()


def _start(job: dict[str, Any]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "fantasyid_engine.training.data.render_part"]
    # In a session of its own no terminal's signal reaches it: whoever started it says when to stop.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    process.stdin = None
    return process


def _check(process: subprocess.Popen[str]) -> None:
    said = process.communicate()[1] or ""
    if process.returncode:
        reason = said.strip().splitlines()[-1] if said.strip() else f"exit status {process.returncode}"
        kinds = {kind.exit_code: kind for kind in (OutputError, WriteError)}
        raise kinds.get(process.returncode, ResourceError)(f"clips were not rendered: {reason}")
