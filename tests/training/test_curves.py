"""A run's curves and times."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fantasyid_engine.training.curves import POINTS, draw_curves, read_log, stage_seconds


def line(step: int, loss: float, stage: str = "vae", kind: str = "train", **more: float) -> dict[str, object]:
    return {"stage": stage, "step": step, "kind": kind, "loss": loss, **more}


def test_a_step_that_was_done_twice_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [line(20, 1.0), line(40, 0.5), line(40, 0.25), line(40, 0.3, kind="validation")]
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    assert [(one["kind"], one["loss"]) for one in read_log(path)] == [
        ("train", 1),
        ("train", 0.25),
        ("validation", 0.3),
    ]


def test_seconds_follow_from_samples_and_speed() -> None:
    log = [line(2, 1, samples_per_s=3.0), line(4, 1, samples_per_s=2.0), line(3, 1, stage="base", samples_per_s=8.0)]
    found = stage_seconds(log, {"vae": [6, 6, 2, 2], "base": [16] * 3})
    assert found == {"vae": pytest.approx(12 / 3 + 4 / 2), "base": pytest.approx(48 / 8)}


def test_a_panel_a_stage() -> None:
    log = [line(step, 1 / step) for step in range(1, 501)] + [line(500, 0.5, kind="validation")]
    log += [line(10, 2.0, stage="<base>"), line(20, 1.0, stage="<base>")]
    root = ElementTree.fromstring(draw_curves(log))
    name = "{http://www.w3.org/2000/svg}"
    titles = [text.text for text in root.iter(f"{name}text") if text.get("font-weight")]
    assert titles == ["vae: loss", "<base>: loss"]
    first, second = (found.get("points", "").split() for found in root.iter(f"{name}polyline"))
    assert POINTS <= len(first) <= POINTS + 6 and len(second) == 2
    heights = [float(point.split(",")[1]) for point in first]
    assert heights == sorted(heights), "losses fall, so the line goes down"
    assert len(list(root.iter(f"{name}circle"))) == 1
