"""A recipe cut down until it passes through all of its stages in a minute or two; nothing is learnt."""

from dataclasses import replace

from fantasyid_engine.training.recipe import AvatarData, Data, DiffusionStage, Recipe, Stage, VaeStage

STEPS, CLIPS, BATCH = 5, 12, 4


def smoke(recipe: Recipe) -> Recipe:
    """The same stages with few steps, clips and samples a batch, one validation, checkpoints and all."""
    validation = None if recipe.validation is None else _fewer(recipe.validation)
    return replace(
        recipe,
        name=f"{recipe.name}-smoke",
        train=_fewer(recipe.train),
        validation=validation,
        stages=tuple(_shorter(stage) for stage in recipe.stages),
        log_every=1,
    )


def _fewer(data: Data) -> Data:
    return replace(data, people=CLIPS, clips=CLIPS) if isinstance(data, AvatarData) else data


def _shorter(stage: Stage) -> Stage:
    short = replace(
        stage,
        steps=STEPS,
        batch_size=min(stage.batch_size, BATCH),
        micro_batch=None,
        checkpoint_every=STEPS // 2,
        validate_every=STEPS,
        **({"image_steps": STEPS // 2} if isinstance(stage, VaeStage) and stage.image_steps else {}),
    )
    if isinstance(short, DiffusionStage):
        return replace(short, videos=min(short.videos, 1), video_steps=2)
    return short
