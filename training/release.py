"""What a run made, put into the package, with what it takes to judge it.

engine/weights/models/NAME/   the model, float16
training/runs/NAME/           recipe.json (with machine and versions), log.jsonl, curves.svg, stages.json
    stages/                   what finished stages made, but for the last: `train RECIPE --stages-of` goes on with it

python -m fantasyid_engine.training.release RUN
"""

import json
import shutil
import sys
from pathlib import Path

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.curves import draw_curves, read_log, stage_seconds
from fantasyid_engine.training.export_run import export_run
from fantasyid_engine.training.recipe import Recipe, Stage
from fantasyid_engine.training.run import read_recipe_of, result_path
from fantasyid_engine.weights.shipped import MODELS

RUNS = Path(__file__).with_name("runs")


def release(run: Path) -> Path:
    """Puts a run's newest weights into this copy of the package; returns their folder.

    Raises:
        ConfigError: it is a smoke run, or as `export_run`.
        WeightsError, OutputError: as `export_run`.
    """
    recipe = read_recipe_of(run)
    if recipe.smoke:
        raise ConfigError(f"{run} is a smoke run: it has learnt nothing")
    log = read_log(run / "log.jsonl")
    stages: tuple[Stage, ...] = recipe.stages
    batches = {stage.name: [stage.batch_at(step) for step in range(stage.steps)] for stage in stages}
    seconds = {stage: round(value) for stage, value in stage_seconds(log, batches).items()}
    curves = draw_curves(log)

    model, kept = MODELS / recipe.name, RUNS / recipe.name
    fresh = model.with_name(f"{recipe.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    said = export_run(run, fresh, half=True)
    shutil.rmtree(model, ignore_errors=True)
    fresh.rename(model)
    kept.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "recipe.json", kept / "recipe.json")
    (kept / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in log))
    (kept / "curves.svg").write_text(curves)
    keep_stages(run, recipe, kept)
    (kept / "stages.json").write_text(json.dumps({"exported": said, "seconds": seconds}, indent=1) + "\n")
    return model


def keep_stages(run: Path, recipe: Recipe, kept: Path) -> None:
    """Copies what the run's finished stages made, in the place of what was kept before; the last one's is the model."""
    shutil.rmtree(kept / "stages", ignore_errors=True)
    for number in range(len(recipe.stages) - 1):
        if result_path(run, recipe, number).is_file():
            (kept / "stages").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(result_path(run, recipe, number), result_path(kept, recipe, number))


if __name__ == "__main__":
    sys.stdout.write(f"{release(Path(sys.argv[1]))}\n")
