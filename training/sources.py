"""The samples that a recipe names: shards as they are, or avatars rendered for the run; with latents where needed."""

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator

from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar import build_avatar_shards
from fantasyid_engine.training.data.latents import cached
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples
from fantasyid_engine.training.recipe import AvatarData, Data, Recipe
from fantasyid_engine.training.run_log import RunLog
from fantasyid_engine.weights.model import Model
from fantasyid_engine.weights.untrained import weights_digest


def open_samples(
    data: Data, folder: Path, recipe: Recipe, model: Model, accelerator: Accelerator, log: RunLog
) -> Sequence[TrainingSample]:
    """Samples with frames, as they come from shards; `folder` keeps what is rendered.

    Raises:
        InputError: the shards cannot be read.
        OutputError: the folder cannot be written.
    """
    if isinstance(data, AvatarData):
        if accelerator.is_main_process and not folder.is_dir():
            _render(data, folder, recipe, model, accelerator.device, log)
        accelerator.wait_for_everyone()
        return ShardedSamples(folder)
    return ShardedSamples(Path(data.folder))


def with_latents(
    samples: Sequence[TrainingSample],
    folder: Path,
    model: Model,
    accelerator: Accelerator,
    log: RunLog,
    *,
    text: bool,
) -> Sequence[TrainingSample]:
    """The samples with latents; those without are encoded once, into a folder named after the VAE's weights.

    Raises:
        OutputError: the folder cannot be written.
    """
    if samples[0].moments is not None and (samples[0].text is not None or not text):
        return samples
    digest = weights_digest(model.vae)
    place = folder.with_name(f"{folder.name}-latents-{digest[:12]}")

    def tell(done: int, total: int) -> None:
        if done == total or not done % 1000:
            log.say(f"encoded {done} of {total} clips")

    return cached(samples, place, model, accelerator, {"vae": digest}, text=text, on_sample=tell)


def keeps_text(recipe: Recipe) -> bool:
    """Whether the text encoder stays as it is in all stages, so that its tokens can be cached."""
    return not any(name.startswith(("text_encoder", "*")) for stage in recipe.stages for name in stage.trainable)


def _render(data: AvatarData, folder: Path, recipe: Recipe, model: Model, device: torch.device, log: RunLog) -> None:
    network, render = model.network.config, model.render
    world = World(seed=data.seed, split=data.split, people=data.people, num_frames=network.dit.sample_frames)

    def tell(done: int, total: int) -> None:
        if done == total or not done % 1000:
            log.say(f"rendered {done} of {total} clips")

    build_avatar_shards(
        folder,
        world,
        data.clips,
        size=model.frame_size[0],
        view_size=network.tower.image_size,
        crop_size=render.crop_size,
        views=recipe.views,
        edited_share=data.edited_share,
        device=device,
        on_sample=tell,
    )
