"""Tiled decoding in plain NumPy: the ground truth of the native blender, from the definition of its weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def axis_weights(starts: NDArray[np.int64], tile: int, length: int) -> NDArray[np.float64]:
    """[n, length]: weights along one axis of tiles of one size."""
    ramps = np.zeros((len(starts), length))
    for i, start in enumerate(starts):
        centre = np.arange(tile) + 0.5
        ramp = np.ones(tile)
        if i > 0 and (shared := starts[i - 1] + tile - start) > 0:
            ramp = np.minimum(ramp, centre / shared)
        if i + 1 < len(starts) and (shared := start + tile - starts[i + 1]) > 0:
            ramp = np.minimum(ramp, (tile - centre) / shared)
        ramps[i, start : start + tile] = ramp
    return ramps / ramps.sum(0)


def tile_weights(tiles: NDArray[np.int64], height: int, width: int) -> list[NDArray[np.float64]]:
    """[h, w] of each tile."""
    tops, lefts = np.unique(tiles[:, 0]), np.unique(tiles[:, 1])
    down, across = axis_weights(tops, tiles[0, 2], height), axis_weights(lefts, tiles[0, 3], width)
    return [
        np.outer(down[tops == top][0, top : top + h], across[lefts == left][0, left : left + w])
        for top, left, h, w in tiles
    ]


def levels(x: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values in [-1, 1] as integers of 8 or 16 bits, rounded half up, computed in x.dtype; NaN becomes 0."""
    half, top = x.dtype.type(0.5), x.dtype.type(2**bits - 1)
    unit = np.clip(np.nan_to_num(x, nan=-1, posinf=1, neginf=-1) * half + half, 0, 1)
    return np.floor(unit * top + half).astype(np.uint8 if bits == 8 else np.uint16)


def plain_blend(
    tiles: NDArray[np.int64], height: int, width: int, pixels: list[NDArray[np.float32]], bits: int
) -> NDArray[Any]:
    """Decoded tiles, each [3, F, h, w], to frames [F, H, W, 3]."""
    total = np.zeros((3, pixels[0].shape[1], height, width))
    for (top, left, h, w), weight, decoded in zip(tiles, tile_weights(tiles, height, width), pixels, strict=True):
        with np.errstate(invalid="ignore"):  # infinity less infinity
            total[:, :, top : top + h, left : left + w] += weight * decoded
    return levels(total, bits).transpose(1, 2, 3, 0)
