"""A run's losses as a picture: a panel a stage, training as a thin line of means, validation as dots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from fantasyid_engine.evaluation.plots import Axis

WIDTH, HEIGHT, MARGIN, POINTS = 420, 200, 44, 120
"""Of a panel, and how many means the line has at most."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a `log.jsonl`; a step that was done twice, before and after a kill, counts once."""
    found = {}
    for line in path.read_text().splitlines(keepends=True):
        if not line.endswith("\n"):
            continue  # a kill cut it
        values = json.loads(line)
        found[values["stage"], values["kind"], values["step"]] = values
    return list(found.values())


def stage_seconds(log: Iterable[dict[str, Any]], batches: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """How long the updates of each stage took, by the speed that the log has; `batches` are the samples an update."""
    seconds: dict[str, float] = {}
    last: dict[str, int] = {}
    for line in log:
        if line["kind"] == "train":
            stage, step = line["stage"], line["step"]
            samples = sum(batches[stage][last.get(stage, 0) : step])
            seconds[stage] = seconds.get(stage, 0.0) + samples / line["samples_per_s"]
            last[stage] = step
    return seconds


def draw_curves(log: Sequence[dict[str, Any]]) -> str:
    """SVG of the losses."""
    stages = list(dict.fromkeys(line["stage"] for line in log))
    panels = "".join(_panel(log, stage, number) for number, stage in enumerate(stages))
    columns, rows = min(2, len(stages)), -(-len(stages) // 2)
    size = f'viewBox="0 0 {columns * WIDTH} {rows * HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{panels}</svg>\n'
    )


def _panel(log: Sequence[dict[str, Any]], stage: str, number: int) -> str:
    learnt, held = (
        [(line["step"], line["loss"]) for line in log if line["stage"] == stage and line["kind"] == kind]
        for kind in ("train", "validation")
    )
    line = _means(learnt)
    left, top = number % 2 * WIDTH, number // 2 * HEIGHT
    x = Axis(0, max(step for step, _ in learnt), left + MARGIN, left + WIDTH - 12)
    y = Axis(0, max(loss for _, loss in [*line, *held]), top + HEIGHT - 26, top + 26)
    points = " ".join(f"{x.at(step)},{y.at(loss)}" for step, loss in line)
    dots = "".join(f'<circle cx="{x.at(step)}" cy="{y.at(loss)}" r="3" fill="#c2410c"/>' for step, loss in held)
    ticks = "".join(f'<text x="{at}" y="{top + HEIGHT - 8}" text-anchor="middle">{text}</text>' for text, at in x.ticks)
    ticks += "".join(
        f'<text x="{left + MARGIN - 6}" y="{at + 4}" text-anchor="end">{text}</text>' for text, at in y.ticks
    )
    return (
        f'<text x="{left + MARGIN}" y="{top + 16}" font-weight="bold">{escape(stage)}: loss</text>\n'
        f'<path d="M{x.start} {y.end}V{y.start}H{x.end}" fill="none" stroke="#999"/>\n'
        f'<polyline points="{points}" fill="none" stroke="#1d4ed8" stroke-width="1.5"/>\n{dots}{ticks}\n'
    )


def _means(values: Sequence[tuple[int, float]]) -> list[tuple[float, float]]:
    """As many means over neighbours as a line can show."""
    some = max(1, len(values) // POINTS)
    groups = [values[at : at + some] for at in range(0, len(values), some)]
    return [(sum(s for s, _ in g) / len(g), sum(v for _, v in g) / len(g)) for g in groups]
