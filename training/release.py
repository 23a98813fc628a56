"""What a run made, put into the package, with what it takes to judge it.

engine/weights/models/NAME/   the model, float16
training/runs/NAME/           recipe.json (with machine and versions), log.jsonl, curves.svg, stages.json

python -m fantasyid_engine.training.release RUN
"""

import json
import shutil
import sys
from pathlib import Path

from fantasyid_engine.training.curves import draw_curves, read_log, stage_seconds
from fantasyid_engine.training.export_run import export_run
from fantasyid_engine.training.recipe import Stage
from fantasyid_engine.training.run import read_recipe_of
from fantasyid_engine.weights.shipped import MODELS

RUNS = Path(__file__).with_name("runs")


def release(run: Path) -> Path:
    """Puts a run's newest weights into this copy of the package; returns their folder."""
    recipe = read_recipe_of(run)
    model, kept = MODELS / recipe.name, RUNS / recipe.name
    fresh = model.with_name(f"{recipe.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    said = export_run(run, fresh, half=True)
    shutil.rmtree(model, ignore_errors=True)
    fresh.rename(model)
    kept.mkdir(parents=True, exist_ok=True)
    for name in ("recipe.json", "log.jsonl"):
        shutil.copyfile(run / name, kept / name)
    log = read_log(run / "log.jsonl")
    stages: tuple[Stage, ...] = recipe.stages
    batches = {stage.name: [stage.batch_at(step) for step in range(stage.steps)] for stage in stages}
    seconds = {stage: round(value) for stage, value in stage_seconds(log, batches).items()}
    (kept / "curves.svg").write_text(draw_curves(log))
    (kept / "stages.json").write_text(json.dumps({"exported": said, "seconds": seconds}, indent=1) + "\n")
    return model


if __name__ == "__main__":
    sys.stdout.write(f"{release(Path(sys.argv[1]))}\n")
