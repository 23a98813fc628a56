"""A recipe cut down until it passes through all of its stages in a minute or two; nothing is learnt."""

from dataclasses import replace
from typing import Any

from fantasyid_engine.training.recipe import AvatarData, Data, DiffusionStage, Recipe, Stage, VaeStage

STEPS, CLIPS, BATCH = 5, 12, 4


def smoke(recipe: Recipe, *, processes: int = 1) -> Recipe:
    """The same stages with few steps, clips and samples a batch, one validation, checkpoints and all.

    Batches can be shared out to so many processes.
    """
    batch = -(-BATCH // processes) * processes
    validation = None if recipe.validation is None else _fewer(recipe.validation)
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        train=_fewer(recipe.train),
        validation=validation,
        stages=tuple(_shorter(stage, batch) for stage in recipe.stages),
        log_every=1,
        smoke=True,
    )


def _fewer(data: Data) -> Data:
    return replace(data, people=CLIPS, clips=CLIPS) if isinstance(data, AvatarData) else data


def _shorter(stage: Stage, batch: int) -> Stage:
    few: dict[str, Any] = {"steps": STEPS, "batch_size": batch, "micro_batch": None}
    few |= {"checkpoint_every": STEPS // 2, "validate_every": STEPS}
    if isinstance(stage, VaeStage):
        images, cropped = min(stage.image_steps, STEPS // 2), min(stage.crop_steps, 1)
        return replace(stage, **few, image_steps=images, image_batch=batch, crop_steps=cropped, crop_batch=batch)
    if isinstance(stage, DiffusionStage):
        if stage.picture_batch:
            few |= {"steps": STEPS - 1, "validate_every": STEPS - 1, "picture_batch": batch}
        return replace(stage, **few, videos=min(stage.videos, 1), video_steps=2)
    return replace(stage, **few)
