"""Tiles of one picture decoded in lockstep, so that every GroupNorm sees the statistics of the whole picture.

A tile that is normalised by its own mean and variance gets other colours than its neighbours: there seams come from.
Here the decoder runs on all tiles side by side, each in a greenlet. At a norm each tile stops and reports mean and
variance of the part of the picture that it owns; when all have, they go on with the statistics of the whole:

    n = sum n_i;   mean = sum n_i mean_i / n;   var = sum n_i (var_i + (mean_i - mean)^2) / n

Only what reaches in from beyond a tile's edge differs from decoding the picture whole. One tile computes at a time; the
others hold what they need to go on.

Source: the combination is Chan et al. 1979. The decoder is diffusers' own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import CogVideoXDecoder3D, CogVideoXSpatialNorm3D
from greenlet import getcurrent, greenlet
from torch import Tensor, nn

Cache = dict[str, Any] | None
"""What the decoder keeps from one chunk of frames to the next."""


@dataclass(frozen=True, slots=True)
class Core:
    """The rows and columns of a tile that no other tile owns, in latents from the tile's corner."""

    rows: tuple[int, int]
    columns: tuple[int, int]

    def of(self, x: Tensor, tile: tuple[int, int]) -> Tensor:
        """The core of features [..., h, w] of a tile of `tile` latents (rows, columns); h, w are multiples of those."""
        up, right = x.shape[-2] // tile[0], x.shape[-1] // tile[1]
        rows, columns = (slice(a * by, b * by) for (a, b), by in ((self.rows, up), (self.columns, right)))
        return x[..., rows, columns]


class Moments(NamedTuple):
    """Number of values a group, and their mean and variance [groups] float64, of a norm's input."""

    number: int
    mean: Tensor
    var: Tensor


class _Run(greenlet):
    """The decoder at work on one tile."""

    def __init__(self, decoder: CogVideoXDecoder3D, tile: Tensor, cache: Cache, core: Core) -> None:
        super().__init__(lambda _: decoder(tile, conv_cache=cache))
        self.size = (tile.shape[-2], tile.shape[-1])
        self.core = core
        self.shared: Moments | None = None


@torch.inference_mode()
def decode_tiles(
    decoder: CogVideoXDecoder3D, tiles: Sequence[Tensor], caches: Sequence[Cache], cores: Sequence[Core]
) -> list[tuple[Tensor, Cache]]:
    """One chunk of latent frames of all tiles.

    Args:
        decoder: diffusers' decoder, on the tiles' device.
        tiles: latents [1, C, f, h, w] of each tile, divided by the scaling factor.
        caches: what the chunk before returned for each tile, which is used up; None at the first.
        cores: what each tile owns; together they are the picture, without overlap.

    Returns:
        Pixels [1, 3, frames, 8h, 8w] (at three halvings) in [-1, 1], and the cache, of each tile.
    """
    with _lean(decoder):
        decoded = (
            [decoder(tiles[0], conv_cache=caches[0])] if len(tiles) == 1 else _in_step(decoder, tiles, caches, cores)
        )
    return [(pixels, _read_once(cache)) for pixels, cache in decoded]


def _in_step(
    decoder: CogVideoXDecoder3D, tiles: Sequence[Tensor], caches: Sequence[Cache], cores: Sequence[Core]
) -> list[tuple[Tensor, Cache]]:
    runs = [_Run(decoder, *of_tile) for of_tile in zip(tiles, caches, cores, strict=True)]
    with _stopping_at_norms(decoder):
        reports = [run.switch(None) for run in runs]
        while not runs[0].dead:
            shared = combine(reports)
            reports = [run.switch(shared) for run in runs]
    return reports


def combine(moments: Sequence[Moments]) -> Moments:
    """Moments of the whole from those of its parts."""
    counts = torch.tensor([part.number for part in moments], dtype=torch.float64, device=moments[0].mean.device)
    share = (counts / counts.sum())[:, None]
    means, variances = torch.stack([part.mean for part in moments]), torch.stack([part.var for part in moments])
    mean = (share * means).sum(0)
    return Moments(sum(part.number for part in moments), mean, (share * (variances + (means - mean) ** 2)).sum(0))


@contextmanager
def _stopping_at_norms(decoder: CogVideoXDecoder3D) -> Iterator[None]:
    norms = [module for module in decoder.modules() if isinstance(module, CogVideoXSpatialNorm3D)]
    # The stop comes before a norm's convolutions: their results need not wait with the tile.
    hooks = [norm.register_forward_pre_hook(_stop) for norm in norms]
    for norm in norms:
        norm.norm_layer.forward = partial(_normalise, norm.norm_layer)  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        for norm, hook in zip(norms, hooks, strict=True):
            hook.remove()
            del norm.norm_layer.forward


def _stop(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    run = getcurrent()
    assert isinstance(run, _Run) and isinstance(norm, CogVideoXSpatialNorm3D) and run.parent is not None
    values = run.core.of(inputs[0], run.size).float().reshape(norm.norm_layer.num_groups, -1)
    var, mean = torch.var_mean(values, dim=1, correction=0)
    run.shared = run.parent.switch(Moments(values.shape[1], mean.double(), var.double()))


def _normalise(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    run = getcurrent()
    assert isinstance(run, _Run) and run.shared is not None
    mean, var = (value.float().repeat_interleave(norm.num_channels // norm.num_groups) for value in run.shared[1:])
    return F.batch_norm(x, mean, var, norm.weight.float(), norm.bias.float(), training=False, eps=norm.eps)


class _ReadOnce(dict[str, Any]):
    """A cache of convolutions that forgets what has been read: the next chunk's takes its place."""

    def get(self, key: str, default: Any = None) -> Any:
        return self.pop(key, default)


def _read_once(cache: Cache) -> Cache:
    return _ReadOnce({key: _read_once(value) for key, value in cache.items()}) if isinstance(cache, dict) else cache


@contextmanager
def _lean(decoder: CogVideoXDecoder3D) -> Iterator[None]:
    """The norms' 1x1x1 convolutions cache their whole inputs, and never read them: here they do not."""
    norms = [module for module in decoder.modules() if isinstance(module, CogVideoXSpatialNorm3D)]
    convolutions = [convolution for norm in norms for convolution in (norm.conv_y, norm.conv_b)]
    hooks = [c.register_forward_hook(lambda module, inputs, output: (output[0], None)) for c in convolutions]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
