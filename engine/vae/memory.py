"""How much memory a decode takes, and the tiles that fit.

In multiples of one feature map at full resolution (channels of the last block x frames of a chunk x pixels):

    whole picture   WHOLE
    tiles           KEPT x area of all tiles + (WHOLE - KEPT) x area of one tile, both as shares of the picture

Tiles in lockstep all keep what they need to go on, so tiles spare a part of the memory, not all but one tile's; small
tiles, which are mostly overlap, spare nothing. diffusers' own decode of the whole picture takes 25.
Measured by `benchmarks/bench_vae_tiling.py`.
"""

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX

from fantasyid_engine.vae.decode import overlap, part_of

WHOLE = 14.5
KEPT = 7.0
SHARE = 0.8
"""Of the memory at hand that a decode may count on."""

MOST_PARTS = 8
SMALLEST = 8
"""Tiles along an axis, and latents along a tile: more or smaller ones are mostly overlap."""

Tile = tuple[int, int]


def decode_bytes(vae: AutoencoderKLCogVideoX, size: Tile, tile: Tile | None) -> int:
    """Peak bytes of decoding latents of `size` (height, width) in tiles of `tile`, or whole."""
    scale = 2 ** (len(vae.config["block_out_channels"]) - 1)
    frames = 2 * vae.config["temporal_compression_ratio"] + 1
    itemsize = torch.finfo(vae.dtype).bits // 8
    bytes_a_latent = vae.config["block_out_channels"][0] * frames * scale**2 * itemsize
    if tile is None:
        return int(WHOLE * bytes_a_latent * size[0] * size[1])
    one = tile[0] * tile[1]
    all_tiles = one * _count(size[0], tile[0]) * _count(size[1], tile[1])
    return int((KEPT * all_tiles + (WHOLE - KEPT) * one) * bytes_a_latent)


def _count(length: int, tile: int) -> int:
    return 1 if tile >= length else -(-(length - overlap(tile)) // (tile - overlap(tile)))


def tile_choices(size: Tile) -> list[Tile | None]:
    """The whole picture (None), then both axes in 2, 3, ... parts; height and width in latents."""

    def part(length: int, parts: int) -> int:
        return max(part_of(length, parts), min(length, SMALLEST))

    tiles = [(part(size[0], parts), part(size[1], parts)) for parts in range(2, MOST_PARTS + 1)]
    return [None, *dict.fromkeys(tile for tile in tiles if tile != size)]


def best_tile(vae: AutoencoderKLCogVideoX, size: Tile, available: int) -> Tile | None:
    """The first choice that fits into `available` bytes; where none does, the one that takes the least.

    That one is tried all the same: the figures are rough, and only the allocator knows.
    """
    needed = {tile: decode_bytes(vae, size, tile) for tile in tile_choices(size)}
    fitting = (tile for tile, size_bytes in needed.items() if size_bytes <= SHARE * available)
    return next(fitting, min(needed, key=needed.__getitem__))


def leaner_tile(vae: AutoencoderKLCogVideoX, size: Tile, tile: Tile | None) -> Tile | None:
    """The choice that takes the least, if that is less than `tile` takes; None where nothing takes less."""
    least = min(tile_choices(size), key=lambda choice: decode_bytes(vae, size, choice))
    return least if decode_bytes(vae, size, least) < decode_bytes(vae, size, tile) else None
