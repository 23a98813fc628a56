"""How much memory a decode takes, and the largest tile that fits.

All figures are multiples of one feature map at full resolution: channels of the last block x frames of a chunk x
pixels.

    whole picture   WHOLE maps
    tiles           KEPT maps of the picture (what tiles in lockstep hold, and the causal convolutions' memory), and
                    WHOLE - KEPT of one tile

Measured by `benchmarks/bench_vae_tiling.py`.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

from fantasyid_engine.vae.decode import part_of

WHOLE = 10.0
KEPT = 4.0
SHARE = 0.8
"""Of the memory at hand that a decode may count on."""

SMALLEST_TILE = 8
"""Latents; below, tiles are mostly overlap."""


def decode_bytes(vae: AutoencoderKLCogVideoX, size: tuple[int, int], tile: tuple[int, int] | None) -> int:
    """Peak bytes of decoding latents of `size` (height, width) in tiles of `tile`, or whole."""
    scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    frames = 2 * vae.config["temporal_compression_ratio"] + 1
    itemsize = torch.finfo(vae.dtype).bits // 8
    per_latent = vae.config["block_out_channels"][0] * frames * scale**2 * itemsize
    whole = size[0] * size[1] * per_latent
    if tile is None:
        return int(WHOLE * whole)
    return int(KEPT * whole + (WHOLE - KEPT) * tile[0] * tile[1] * per_latent)


def largest_tile(vae: AutoencoderKLCogVideoX, size: tuple[int, int], available: int) -> tuple[int, int] | None:
    """The tile, height and width in latents, that fits into `available` bytes; None where the whole picture does.

    Each axis is divided in 1, 2, 3, ... until it fits. Where nothing does, the smallest tile is tried all the same: the
    figures are rough, and only the allocator knows.
    """
    if decode_bytes(vae, size, None) <= SHARE * available:
        return None
    smallest = (min(SMALLEST_TILE, size[0]), min(SMALLEST_TILE, size[1]))
    for parts in range(2, max(size) // SMALLEST_TILE + 1):
        height, width = (max(least, part_of(length, parts)) for least, length in zip(smallest, size, strict=True))
        if decode_bytes(vae, size, (height, width)) <= SHARE * available:
            return height, width
    return smallest


def smaller_tile(tile: tuple[int, int] | None, size: tuple[int, int]) -> tuple[int, int] | None:
    """What to try when `tile` did not fit: half of it; None where there is nothing smaller."""
    height, width = tile or size
    halved = max(SMALLEST_TILE, -(-height // 2)), max(SMALLEST_TILE, -(-width // 2))
    halved = min(halved[0], size[0]), min(halved[1], size[1])
    return None if halved == (height, width) else halved
