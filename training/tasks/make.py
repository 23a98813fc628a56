"""The task of each kind of stage."""

from collections.abc import Sequence

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.recipe import DiffusionStage, Stage, TextStage, TowerStage
from fantasyid_engine.training.tasks.diffusion import DiffusionTask
from fantasyid_engine.training.tasks.task import Task
from fantasyid_engine.training.tasks.text import TextTask
from fantasyid_engine.training.tasks.tower import TowerTask
from fantasyid_engine.training.tasks.vae import VaeTask
from fantasyid_engine.weights.model import Model


def make_task(
    stage: Stage, model: Model, samples: Sequence[TrainingSample], *, views: int, cached_text: bool, seed: int
) -> Task:
    """What a stage learns, of a model's parts.

    Args:
        stage: which.
        model: whose parts; they are trained in place.
        samples: what it will learn from.
        views: reference pictures that the DiT's faces are drawn from; a tower sees all.
        cached_text: samples bring text tokens.
        seed: of weights that the model has not.

    Raises:
        ConfigError: the model or the samples have not what the stage needs.
    """
    if isinstance(stage, DiffusionStage):
        return DiffusionTask(model, stage, views=views, cached_text=cached_text, seed=seed)
    if isinstance(stage, TowerStage):
        look = samples[0].look
        if look is None:
            raise ConfigError(f"stage {stage.name}: its samples say nothing of shape and look; only avatars' do")
        return TowerTask(model, stage, looks=len(look), views=len(samples[0].views), seed=seed)
    if isinstance(stage, TextStage):
        if samples[0].look is None:
            raise ConfigError(
                f"stage {stage.name}: its samples are of no avatars; only their prompts have a vocabulary"
            )
        return TextTask(model, seed=seed)
    return VaeTask(model, stage)
