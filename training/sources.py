"""The samples that a recipe names: shards as they are, or avatars rendered for the run; with latents where needed."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.avatar.clips import World
from fantasyid_engine.training.data.avatar_parts import open_parts, part_folders, render_parts
from fantasyid_engine.training.data.latents import cached
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples
from fantasyid_engine.training.recipe import AvatarData, Data, DiffusionStage, Recipe
from fantasyid_engine.weights.model import Model
from fantasyid_engine.weights.untrained import weights_digest

Tell = Callable[[str, int, int], None]
"""Hears what was done with how many clips of how many; raising in it stops."""


def open_samples(
    data: Data, folder: Path, recipe: Recipe, model: Model, accelerator: Accelerator, tell: Tell
) -> Sequence[TrainingSample]:
    """Samples with frames, as they come from shards; `folder` keeps what is rendered.

    Raises:
        InputError: the shards cannot be read.
        ConfigError: they are empty.
        OutputError: the folder cannot be written.
    """
    if isinstance(data, AvatarData):
        if accelerator.is_main_process:
            _render(data, folder, recipe, model, accelerator.device, tell)
        accelerator.wait_for_everyone()
        return open_parts(part_folders(folder, data.clips))
    folder = Path(data.folder)
    samples = ShardedSamples(folder)
    if not len(samples):
        raise ConfigError(f"{folder} holds no samples to learn from")
    return samples


def with_latents(
    samples: Sequence[TrainingSample],
    folder: Path,
    model: Model,
    accelerator: Accelerator,
    tell: Tell,
    *,
    text: bool,
) -> Sequence[TrainingSample]:
    """The samples with latents; those without are encoded once, into a folder named after the weights that do.

    Raises:
        OutputError: the folder cannot be written.
    """
    if samples[0].moments is not None and (samples[0].text is not None or not text):
        return samples
    about = {"vae.encoder": weights_digest(model.vae.encoder)}  # a decoder that learned on leaves latents as they are
    about |= {"text_encoder": weights_digest(model.text_encoder)} if text else {}
    place = folder.with_name("-".join([folder.name, "latents", *(digest[:12] for digest in about.values())]))
    encoded = partial(tell, "encoded")
    return cached(samples, place, model, accelerator, about, text=text, on_sample=encoded)


def keeps_text(recipe: Recipe) -> bool:
    """Whether the text encoder stays as it is while the DiT learns, so that its tokens can be cached."""
    stages = [stage for stage in recipe.stages if isinstance(stage, DiffusionStage)]
    return not any(name.startswith(("text_encoder", "*")) for stage in stages for name in stage.trainable)


def _render(data: AvatarData, folder: Path, recipe: Recipe, model: Model, device: torch.device, tell: Tell) -> None:
    network, render = model.network.config, model.render
    world = World(seed=data.seed, split=data.split, people=data.people, num_frames=network.dit.sample_frames)
    how = {
        "size": model.frame_size[0],
        "view_size": network.tower.image_size,
        "crop_size": render.crop_size,
        "views": recipe.views,
        "edited_share": data.edited_share,
    }
    render_parts(folder, world, data.clips, how, device, partial(tell, "rendered"))
