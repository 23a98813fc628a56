"""Latents -> frames, chunk by chunk and, where memory is short, tile by tile.

The decoder sees two latent frames at a time (three in the first chunk of an odd number), with what its causal
convolutions remember carried over; its GroupNorms see one chunk, so the chunks are part of the result. Each decoded
piece goes to the host at once, where the native blender feathers it into the video's one buffer: the device never holds
more than a chunk.

F latent frames, C latent channels, H W latent height / width. Source: diffusers' `AutoencoderKLCogVideoX`.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine.errors import ConfigError
from fantasyid_engine.vae.lockstep import Cache, Core, decode_tiles

if TYPE_CHECKING:
    from fantasyid_engine._native import TilePlan

Frames = NDArray[np.uint8] | NDArray[np.uint16]
"""RGB [frames, height, width, 3]."""

CHUNK = 2
"""Latent frames that the decoder sees at a time."""


def chunks(frames: int) -> list[tuple[int, int]]:
    """First and last + 1 latent frame of each chunk: twos, what is left over in the first."""
    over = frames % CHUNK
    ends = [over + CHUNK * (i + 1) for i in range(frames // CHUNK)] or [frames]
    return list(pairwise([0, *ends]))


def overlap(tile: int) -> int:
    """Latents that neighbouring tiles of `tile` latents share: a fifth, four at least where they can."""
    return min(max(4, round(tile / 5)), tile - 1)


def part_of(length: int, parts: int) -> int:
    """The smallest size of `parts` tiles that cover `length` with their overlaps."""
    tile = -(-length // parts)
    while tile < length and parts * tile - (parts - 1) * overlap(tile) < length:
        tile += 1
    return tile


def decode(
    vae: AutoencoderKLCogVideoX,
    latents_BFCHW: Tensor,
    tile: tuple[int, int] | None = None,
    *,
    bits: int = 8,
    on_chunk: Callable[[int, int], None] = lambda done, total: None,
) -> Frames:
    """Frames of a video.

    Args:
        vae: the VAE.
        latents_BFCHW: clean latents [1, F, C, H, W] as the DiT has them (times the scaling factor), F odd.
        tile: height and width of a tile in latents; None decodes the picture whole.
        bits: 8 or 16 a colour.
        on_chunk: called after each chunk with the number done and their total; raising in it cancels.

    Returns:
        RGB [frames, height, width, 3], uint8 or uint16.

    Raises:
        ValueError: an even number of latent frames, or tiles that no plan can be made of.
        ConfigError: the VAE makes values that are no numbers.
    """
    from fantasyid_engine._native import TileBlender

    plan, frames = tile_plan(latents_BFCHW, tile), latents_BFCHW.shape[1]
    scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    total = (frames - 1) * vae.config["temporal_compression_ratio"] + 1
    blender = TileBlender(plan.scaled(scale), total, bits=bits)
    made = 0
    for number, pixels_of_tile in enumerate(decode_chunks(vae, latents_BFCHW, plan), start=1):
        for i, pixels_3FHW in enumerate(pixels_of_tile):
            blender.add(i, made, pixels_3FHW.float().cpu().numpy())
        made += pixels_of_tile[0].shape[1]
        on_chunk(number, len(chunks(frames)))
    return blender.frames()


def tile_plan(latents_BFCHW: Tensor, tile: tuple[int, int] | None) -> "TilePlan":
    """Tiles, in latents, of at most `tile` (height, width); one for the whole picture where it is None.

    As many as tiles of that size must be, but no larger than so many need.
    """
    from fantasyid_engine._native import TilePlan

    height, width = latents_BFCHW.shape[-2:]
    rows, columns = tile or (height, width)
    rows, columns = _fitted(height, rows), _fitted(width, columns)
    return TilePlan(height, width, rows, columns, overlap(rows), overlap(columns))


def _fitted(length: int, most: int) -> int:
    if most >= length:
        return length
    shared = overlap(most)
    return min(most, part_of(length, math.ceil((length - shared) / (most - shared))))


@torch.inference_mode()
def decode_chunks(vae: AutoencoderKLCogVideoX, latents_BFCHW: Tensor, plan: "TilePlan") -> Iterator[list[Tensor]]:
    """Pixels [3, frames, h, w] of each tile, nominally in [-1, 1], chunk by chunk.

    Raises:
        ValueError: an even number of latent frames.
        ConfigError: the VAE makes values that are no numbers.
    """
    frames = latents_BFCHW.shape[1]
    if frames % 2 == 0:
        raise ValueError(f"{frames} latent frames; this VAE decodes an odd number to a whole video")
    z = (latents_BFCHW / vae.config["scaling_factor"]).to(vae.device, vae.dtype).transpose(1, 2)
    corners, cores = plan.tiles.tolist(), tile_cores(plan)
    caches: list[Cache] = [None] * len(plan)
    for start, end in chunks(frames):
        tiles = [z[:, :, start:end, top : top + h, left : left + w] for top, left, h, w in corners]
        decoded = decode_tiles(vae.decoder, tiles, caches, cores)
        caches = [cache for _, cache in decoded]
        if not all(bool(pixels.isfinite().all()) for pixels, _ in decoded):
            raise ConfigError(f"the VAE makes values that are no numbers in {vae.dtype}: fetch its weights again")
        yield [pixels[0] for pixels, _ in decoded]


def tile_cores(plan: "TilePlan") -> list[Core]:
    """What each tile owns: up to the middle of what it shares with a neighbour."""
    tiles: NDArray[np.int64] = plan.tiles

    def owned(starts: NDArray[np.int64], size: int, length: int) -> dict[int, tuple[int, int]]:
        edges = np.unique(starts).tolist()
        middles = [(before + size + after) // 2 for before, after in pairwise(edges)]
        return {
            edge: (low - edge, high - edge)
            for edge, low, high in zip(edges, [0, *middles], [*middles, length], strict=True)
        }

    rows = owned(tiles[:, 0], int(tiles[0, 2]), plan.height)
    columns = owned(tiles[:, 1], int(tiles[0, 3]), plan.width)
    return [Core(rows[top], columns[left]) for top, left, _, _ in tiles.tolist()]
