"""A chain of filters over a manifest, and the report of what fell out and why.

Each clip is judged by one filter after the other until one rejects it. Frames are read a clip at a time and forgotten;
a video that cannot be read falls out with that reason.

    report.json   {"format": 1, "clips": 50000, "kept": ["KEY", ...],
                   "fell_out": {"FILTER": [{"key": "KEY", "reason": "..."}, ...], ...}}
    report.md     a table: filter, clips it saw, clips that fell out
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.errors import InputError, one_line
from fantasyid_engine.training.data.filters.judge import SAMPLED, Filter
from fantasyid_engine.training.data.frames import sample_frames
from fantasyid_engine.training.data.manifest import Clip, video_path

FORMAT = 1
READING = "reading"
"""What the report calls the step before the first filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a chain did: the clips that stay, in their order, and key and reason of the others, by filter."""

    kept: tuple[Clip, ...]
    fell_out: Mapping[str, tuple[tuple[str, str], ...]]

    @property
    def total(self) -> int:
        """Clips there were."""
        return len(self.kept) + sum(len(gone) for gone in self.fell_out.values())


def run_filters(
    clips: Sequence[Clip],
    root: Path,
    filters: Sequence[Filter],
    *,
    on_clip: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Judges `clips`, whose videos are in `root`. `on_clip` reports progress; raising in it stops.

    Raises:
        ValueError: two filters have one name.
    """
    names = [READING, *(one.name for one in filters)]
    if len(set(names)) != len(names):
        raise ValueError(f"filters are {', '.join(names[1:])}; each needs a name of its own, other than {READING!r}")
    kept: list[Clip] = []
    fell_out: dict[str, list[tuple[str, str]]] = {name: [] for name in names}
    for number, clip in enumerate(clips, 1):
        name, reason = _judged(clip, root, filters)
        if reason is None:
            kept.append(clip)
        else:
            fell_out[name].append((clip.key, reason))
        on_clip(number, len(clips))
    return Report(kept=tuple(kept), fell_out={name: tuple(gone) for name, gone in fell_out.items()})


def _judged(clip: Clip, root: Path, filters: Sequence[Filter]) -> tuple[str, str | None]:
    """The step that rejects a clip, and why; or no reason."""
    try:
        frames = sample_frames(video_path(root, clip), clip.start, clip.frames, SAMPLED)
    except InputError as error:
        return READING, str(error)
    for one in filters:
        if (reason := one.judge(clip, frames)) is not None:
            return one.name, reason
    return "", None


def write_report(report: Report, folder: Path) -> None:
    """Writes `report.json` and `report.md`; each is whole or not there.

    Raises:
        OutputError: a file cannot be created.
        WriteError: it cannot be written to its end.
    """
    fell_out = {
        name: [{"key": key, "reason": one_line(reason)} for key, reason in gone]
        for name, gone in report.fell_out.items()
    }
    kept = [clip.key for clip in report.kept]
    record = {"format": FORMAT, "clips": report.total, "kept": kept, "fell_out": fell_out}
    with atomic_file(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    with atomic_file(folder / "report.md") as temporary:
        temporary.write_text(_table(report), encoding="utf-8")


def _table(report: Report) -> str:
    lines = ["| filter | clips | fell out |", "|---|---:|---:|"]
    left = report.total
    for name, gone in report.fell_out.items():
        lines.append(f"| {one_line(name).replace('|', '/')} | {left} | {len(gone)} |")
        left -= len(gone)
    return "\n".join([*lines, f"| kept | {left} | |"]) + "\n"
