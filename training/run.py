"""A whole run: data, then stage after stage, going on where it stopped.

    RUN/recipe.json                       what is trained
        data/                             rendered clips, latents
        stages/00-vae.safetensors ...     what each finished stage made
        checkpoints/01-text/step-...      where the current one is
        validation/01-text/step-...       rendered clips
        log.jsonl  tensorboard/

The same command again goes on from the last checkpoint: every draw is a function of its place in the run (`draws`), so
that what comes out is what an uninterrupted run gives, bit for bit on one CPU process.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from fantasyid_engine.atomic import atomic_file
from fantasyid_engine.config.serialise import from_json_object, read_json_object, to_json_object
from fantasyid_engine.errors import Cancelled, ConfigError
from fantasyid_engine.evaluation.instruments import avatar_instruments, photo_instruments
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.runtime.device import DTYPES
from fantasyid_engine.runtime.machine import machine, versions
from fantasyid_engine.training.avatar.perception.fit import Say
from fantasyid_engine.training.checkpoints import Checkpoints
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.feed import Feed, validation_batches
from fantasyid_engine.training.learner import Learner, recomputing
from fantasyid_engine.training.parallel import open_accelerator
from fantasyid_engine.training.parts import put, read_result, start_model, write_result
from fantasyid_engine.training.recipe import Data, DiffusionStage, Recipe, Stage
from fantasyid_engine.training.run_log import RunLog
from fantasyid_engine.training.sources import keeps_text, open_samples, with_latents
from fantasyid_engine.training.stage_loop import StageLoop
from fantasyid_engine.training.tasks.make import make_task
from fantasyid_engine.training.validation import show_validation
from fantasyid_engine.weights.model import Model

FORMAT = "fantasyid-run-1"
HOW = ("parallel", "arcface", "log_every", "precision")
"""Fields of a recipe that may be other ones when a run goes on; which precision is fast is the machine's."""
STAGES_HOW = (
    *("optimiser", "spike_factor", "micro_batch", "checkpointing"),
    *("checkpoint_every", "keep_last", "validate_every", "videos", "video_steps"),
)
"""The same of a stage. Of the model it is how guidance works, which is chosen by looking at what was made."""


def train(
    recipe: Recipe, folder: Path, say: Say, *, cpu: bool = False, interrupted: Callable[[], bool] = lambda: False
) -> None:
    """Trains a recipe, or goes on with it.

    Args:
        recipe: what to train.
        folder: the run's; new, or one that this recipe began.
        say: hears of progress, a line each, from the main process.
        cpu: not on a GPU, whatever there is.
        interrupted: asked after each update; saves and stops where it says yes.

    Raises:
        ConfigError: the folder is of another recipe, or the recipe does not fit its model, data or processes.
        TrainingStopped: the loss went wrong; the state before it is saved.
        Cancelled: interrupted; the state is saved.
        InputError, WeightsError, OutputError: data, weights to start from, or the folder are not usable.
    """
    accelerator = open_accelerator(cpu=cpu)
    if accelerator.is_main_process:
        claim(folder, recipe)
    accelerator.wait_for_everyone()
    with RunLog(folder, say, main=accelerator.is_main_process) as log:
        _Run(folder, recipe, accelerator, log, interrupted).train()
        log.say(f"trained {folder}; next: fantasyid-engine train export {folder} DIR")
    accelerator.end_training()


def claim(folder: Path, recipe: Recipe) -> None:
    """Writes the recipe into a new run's folder; of an old one makes sure that it is the same."""
    path = folder / "recipe.json"
    if path.is_file():
        begun = read_recipe_of(folder)
        if fixed(begun) != fixed(recipe):
            if begun.smoke != recipe.smoke:
                raise ConfigError(f"{folder}: a smoke run and a real one need a folder each; name a new folder")
            names = [name for name, value in fixed(recipe).items() if fixed(begun)[name] != value]
            raise ConfigError(
                f"{folder} was begun with another recipe (its {', '.join(names)} differ); name a new folder, or give "
                "the recipe as it was"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty and no run; name a new folder")
    with atomic_file(path) as place:
        about = {"format": FORMAT, "recipe": to_json_object(recipe)}
        about |= {"machine": machine(torch.device("cpu")), "versions": versions()}
        place.write_text(json.dumps(about, indent=1) + "\n")


def fixed(recipe: Recipe) -> dict[str, Any]:
    """What must stay the same while a run goes on."""
    values = to_json_object(recipe)
    for name in ("guidance_scale", "guides_by_photo", "skip_guidance_layers"):
        del values["model"]["render"][name]
    stages = [{name: value for name, value in stage.items() if name not in STAGES_HOW} for stage in values["stages"]]
    return {name: value for name, value in values.items() if name not in HOW} | {"stages": stages}


def read_recipe_of(folder: Path) -> Recipe:
    """The recipe of a run.

    Raises:
        ConfigError: it is no run's folder, or of another version.
    """
    path = folder / "recipe.json"
    if not path.is_file():
        raise ConfigError(f"{folder} is no run's folder: it has no recipe.json")
    values = read_json_object(path, ConfigError)
    if values.get("format") != FORMAT:
        raise ConfigError(f"{folder} is no run of {FORMAT}")
    return from_json_object(Recipe, values.get("recipe"), path)


def result_path(folder: Path, recipe: Recipe, number: int) -> Path:
    """Where a run keeps what its stage `number` made."""
    return folder / "stages" / f"{number:02d}-{recipe.stages[number].name}.safetensors"


def checkpoints_of(folder: Path, recipe: Recipe, number: int) -> Checkpoints:
    """The checkpoints of a run's stage `number`."""
    stage = recipe.stages[number]
    return Checkpoints(folder / "checkpoints" / f"{number:02d}-{stage.name}", stage.keep_last)


def model_after(folder: Path, recipe: Recipe, stages: int) -> Model:
    """The model that a run's first `stages` stages made, on the CPU.

    Raises:
        WeightsError, ConfigError: weights to start from, or a stage's, are missing or damaged.
    """
    model = start_model(recipe)
    for number in range(stages):
        put(model, *read_result(result_path(folder, recipe, number)))
    return model


@dataclass(frozen=True, slots=True)
class _Run:
    """One run on one of its processes."""

    folder: Path
    recipe: Recipe
    accelerator: Accelerator
    log: RunLog
    interrupted: Callable[[], bool]
    _told: set[str] = field(default_factory=set)

    def train(self) -> None:
        """All stages that are not done."""
        if self.accelerator.is_main_process:
            self._instruments()  # what is missing is told of now, not at the first validation
        for number, stage in enumerate(self.recipe.stages):
            if result_path(self.folder, self.recipe, number).is_file():
                self.log.say(f"{stage.name}: done already")
            else:
                self._train_stage(number, stage)

    def _train_stage(self, number: int, stage: Stage) -> None:
        recipe, began = self.recipe, perf_counter()
        # A model of its own for each stage: what sharing out does to a module cannot be undone.
        model = model_after(self.folder, recipe, number)
        samples = self._samples(recipe.train, "train", stage, model)
        held_out = [] if recipe.validation is None else self._samples(recipe.validation, "validation", stage, model)
        task = make_task(
            stage, model, samples, views=recipe.views_used, cached_text=keeps_text(recipe), seed=recipe.seed
        )
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        feed = Feed(task, stage, samples, recipe.seed, number, rank, processes)
        feed.check()
        learner = Learner(
            task,
            stage,
            self.accelerator,
            parallel=recipe.parallel,
            precision=DTYPES[recipe.precision],
            frozen=DTYPES[recipe.frozen],
        )
        checkpointing = isinstance(stage, DiffusionStage) and stage.checkpointing
        with recomputing(task) if checkpointing else nullcontext():
            StageLoop(
                learner,
                feed,
                checkpoints_of(self.folder, recipe, number),
                self.accelerator,
                self.log,
                recipe.log_every,
                validation_batches(task, held_out, stage, recipe.seed, number) if held_out else (),
                partial(self._watch, number, stage, held_out),
                self.interrupted,
            ).run()
        with learner.averaged(), torch.no_grad():
            weights = learner.whole_weights()
            facts = task.finish(validation_batches(task, samples, stage, recipe.seed, number))
        if self.accelerator.is_main_process:
            write_result(result_path(self.folder, recipe, number), weights, facts)
        self.accelerator.wait_for_everyone()
        self.log.say(f"{stage.name}: done in {perf_counter() - began:.0f} s")

    def _samples(self, data: Data, name: str, stage: Stage, model: Model) -> Sequence[TrainingSample]:
        folder = self.folder / "data" / name
        samples = open_samples(data, folder, self.recipe, model, self.accelerator, self._tell)
        if not isinstance(stage, DiffusionStage):
            return samples
        return with_latents(samples, folder, model, self.accelerator, self._tell, text=keeps_text(self.recipe))

    def _tell(self, what: str, done: int, total: int) -> None:
        """Tells of clips that are rendered or encoded, and stops where that is asked for."""
        line = f"{what} {done} of {total} clips"
        if line not in self._told and (done == total or not done % 1000):
            self._told.add(line)
            self.log.say(line)
        if self.interrupted():
            raise Cancelled(f"interrupted with {done} of {total} clips {what}")

    def _watch(
        self, number: int, stage: Stage, samples: Sequence[TrainingSample], step: int, weights: dict[str, Tensor]
    ) -> None:
        """Renders and measures on the main process, with a model of its own."""
        if not self.accelerator.is_main_process or not isinstance(stage, DiffusionStage) or not stage.videos:
            return
        model = model_after(self.folder, self.recipe, number)
        put(model, weights, {})
        folder = self.folder / "validation" / f"{number:02d}-{stage.name}" / f"step-{step:08d}"
        show_validation(model, samples, stage, step, folder, self.accelerator.device, self._instruments(), self.log)

    def _instruments(self) -> Instruments | None:
        """What validation clips are measured with; real faces need an ArcFace network, which nobody ships."""
        if self.recipe.avatars:
            return avatar_instruments()
        return None if self.recipe.arcface is None else photo_instruments(Path(self.recipe.arcface), None)
