"""Shards with frames -> shards with latents and, where the text encoder stays as it is, text tokens.

Each process encodes every n-th sample into a part of its own; read together, the parts give the samples in the order
they had, whatever n was.

B batch, F frames, L text tokens, C channels.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.text.encoder import TextEncoder
from fantasyid_engine.training.data.sample import TrainingSample
from fantasyid_engine.training.data.shards import ShardedSamples, write_shards
from fantasyid_engine.vae.layout import channels_last
from fantasyid_engine.weights.model import Model

MOST_VALUES = 2**19
"""Of the clips that are encoded at once: some small ones, or one that is larger."""


class Interleaved(Sequence[TrainingSample]):
    """Samples of several folders, of which the first holds samples 0, n, 2 n ..."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._parts = [ShardedSamples(folder) for folder in folders]

    def __len__(self) -> int:
        return sum(len(part) for part in self._parts)

    def __getitem__(self, index: int) -> TrainingSample:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not 0 <= index < len(self):
            raise IndexError(index)
        number, part = divmod(index, len(self._parts))
        return self._parts[part][number]


def cached(
    samples: Sequence[TrainingSample],
    folder: Path,
    model: Model,
    accelerator: Accelerator,
    about: dict[str, Any],
    *,
    text: bool,
    on_sample: Callable[[int, int], None] = lambda done, total: None,
) -> Sequence[TrainingSample]:
    """The samples with latents, from `folder` where they are there already.

    Args:
        samples: with frames.
        folder: gets one folder a process; named so that other weights have another.
        model: its VAE and text encoder work on the accelerator's device, and come back.
        accelerator: the processes that share the work.
        about: what the shards say of themselves.
        text: keep text tokens too.
        on_sample: hears of the number done and of all.

    Raises:
        OutputError: the folder cannot be written.
        ConfigError: a sample has no frames.
    """
    done = folder / "parts.txt"
    if not done.is_file():
        count, rank = accelerator.num_processes, accelerator.process_index
        mine = range(rank, len(samples), count)
        part = folder / f"part-{rank:04d}"
        if not part.is_dir():
            write_shards(part, _encoded(samples, mine, model, accelerator, text, on_sample), about=about)
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            done.write_text(f"{count}\n")
        accelerator.wait_for_everyone()
    return Interleaved([folder / f"part-{i:04d}" for i in range(int(done.read_text()))])


def _batches(
    samples: Sequence[TrainingSample], places: Sequence[int]
) -> Iterator[tuple[list[TrainingSample], torch.Tensor]]:
    """Neighbours of one size and their frames, some at a time: torch takes a slow way for a single clip on a CPU."""
    batch: list[TrainingSample] = []
    frames: list[torch.Tensor] = []
    for place in places:
        sample = samples[place]
        if sample.frames is None:
            raise ConfigError(f"{sample.key} has neither latents nor frames to make them of; prepare the clips again")
        full = (len(frames) + 1) * sample.frames.numel() > MOST_VALUES
        if frames and (full or sample.frames.shape != frames[0].shape):
            yield batch, torch.stack(frames)
            batch, frames = [], []
        batch.append(sample)
        frames.append(sample.frames)
    if frames:
        yield batch, torch.stack(frames)


@torch.no_grad()
def _encoded(
    samples: Sequence[TrainingSample],
    places: Sequence[int],
    model: Model,
    accelerator: Accelerator,
    text: bool,
    on_sample: Callable[[int, int], None],
) -> Iterator[TrainingSample]:
    home = model.vae.device
    parts: list[nn.Module] = [model.vae, model.text_encoder] if text else [model.vae]
    try:
        for part in parts:
            part.to(accelerator.device)
        channels_last(model.vae)
        encode = TextEncoder(model.text_encoder, model.tokenizer, model.network.config.dit.max_text_seq_length, 1024)
        done = 0
        for batch, frames_BF3HW in _batches(samples, places):
            x = 2 * frames_BF3HW.transpose(1, 2).to(model.vae.device, model.vae.dtype) / 255 - 1
            x = x.contiguous(memory_format=torch.channels_last_3d)
            (posterior,) = model.vae.encode(x, return_dict=False)
            for sample, moments in zip(batch, posterior.parameters.transpose(1, 2).cpu().half(), strict=True):
                tokens = encode(sample.prompt).tokens[0].cpu().half() if text else None
                yield replace(sample, frames=None, moments=moments.clone(), text=tokens)
            done += len(batch)
            on_sample(done, len(places))
    finally:
        for part in parts:
            part.to(home)
