"""Tiles by memory: which are chosen, which are fallen back on, and that tiles cover the picture."""

from copy import deepcopy
from functools import cache
from itertools import pairwise

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fantasyid_engine._native import TilePlan
from fantasyid_engine.config.render import VaeConfig
from fantasyid_engine.vae.decode import overlap, part_of, tile_plan
from fantasyid_engine.vae.memory import (
    KEPT,
    SHARE,
    SMALLEST,
    WHOLE,
    Tile,
    best_tile,
    decode_bytes,
    leaner_tile,
    tile_choices,
)
from fantasyid_engine.weights.untrained import make_vae

PROPERTY = settings(deadline=None, max_examples=60)
LENGTHS = st.integers(1, 120)
SIZES = st.tuples(LENGTHS, LENGTHS)
TILES = st.tuples(st.integers(1, 130), st.integers(1, 130))


@cache
def vae_of(first_width: int = 8) -> AutoencoderKLCogVideoX:
    """Without memory for its weights: only its sizes count here."""
    config = VaeConfig(block_out_channels=(first_width, 8, 16), latent_channels=4, norm_num_groups=4)
    with torch.device("meta"):
        return make_vae(config)


def needed(size: Tile, tile: Tile | None) -> int:
    return decode_bytes(vae_of(), size, tile)


def test_bytes_follow_picture_frames_and_precision() -> None:
    """Multiples of one feature map: 8 channels, 9 frames of a chunk, 16 pixels a latent, 4 bytes."""
    whole = needed((60, 90), None)
    assert whole == WHOLE * 60 * 90 * 8 * 9 * 16 * 4
    assert needed((60, 180), None) == 2 * whole
    assert needed((60, 90), (60, 90)) == whole, "one tile is the whole picture"
    assert decode_bytes(deepcopy(vae_of()).bfloat16(), (60, 90), None) == whole // 2
    assert decode_bytes(vae_of(16), (60, 90), None) == 2 * whole


@PROPERTY
@given(SIZES, TILES)
def test_bytes_count_what_the_plan_holds(size: Tile, tile: Tile) -> None:
    """All tiles of the plan, and one of them at work; a tile that the plan makes smaller is counted in full."""
    tile = min(tile[0], size[0]), min(tile[1], size[1])
    assume(size[0] * size[1] <= 4096 * tile[0] * tile[1])  # no plan has more tiles
    plan = tile_plan(torch.empty(1, 1, 4, *size, device="meta"), tile)
    areas = [height * width for _, _, height, width in plan.tiles.tolist()]
    in_plan = KEPT * sum(areas) + (WHOLE - KEPT) * areas[0]
    counted = KEPT * len(plan) * tile[0] * tile[1] + (WHOLE - KEPT) * tile[0] * tile[1]
    assert int(in_plan * needed((1, 1), None) / WHOLE) <= needed(size, tile)
    assert needed(size, tile) == pytest.approx(counted * needed((1, 1), None) / WHOLE, abs=1)


@PROPERTY
@given(SIZES)
def test_choices(size: Tile) -> None:
    """The whole picture, then tiles: within the picture, never below the smallest, each other than all before."""
    first, *tiles = tile_choices(size)
    assert first is None
    assert len(set(tiles)) == len(tiles) and size not in tiles
    for tile in tiles:
        assert all(min(SMALLEST, length) <= side <= length for side, length in zip(tile, size, strict=True))
    for larger, tile in pairwise([size, *tiles]):
        assert tile[0] <= larger[0] and tile[1] <= larger[1]


@PROPERTY
@given(SIZES, st.integers(0, 2**34))
def test_best_tile(size: Tile, available: int) -> None:
    """None where the whole fits; else the first choice that does; the leanest where none does."""
    tile = best_tile(vae_of(), size, available)
    fitting = [choice for choice in tile_choices(size) if needed(size, choice) <= SHARE * available]
    if fitting:
        assert tile == fitting[0] and (tile is None) == (needed(size, None) <= SHARE * available)
    else:
        assert needed(size, tile) == min(needed(size, choice) for choice in tile_choices(size))


@PROPERTY
@given(SIZES, st.lists(st.integers(0, 2**32), min_size=2, max_size=8))
def test_more_memory_never_gives_a_smaller_tile(size: Tile, amounts: list[int]) -> None:
    tiles = [best_tile(vae_of(), size, available) or size for available in sorted(amounts)]
    for less, more in pairwise(tiles):
        assert less[0] <= more[0] and less[1] <= more[1]


def test_memory_a_little_short_halves_the_picture_and_no_more() -> None:
    size = (60, 90)
    whole = needed(size, None)
    assert best_tile(vae_of(), size, int(whole / SHARE) + 1) is None
    assert best_tile(vae_of(), size, int(0.99 * whole / SHARE)) == (part_of(60, 2), part_of(90, 2)) == (34, 50)


@PROPERTY
@given(SIZES, st.none() | TILES)
def test_leaner_tile_takes_less_and_is_the_end(size: Tile, tile: Tile | None) -> None:
    leaner = leaner_tile(vae_of(), size, tile)
    least = min(needed(size, choice) for choice in tile_choices(size))
    if leaner is not None:
        assert leaner in tile_choices(size)
        assert least == needed(size, leaner) < needed(size, tile)
        assert leaner_tile(vae_of(), size, leaner) is None
    else:
        assert needed(size, tile) <= least or least == needed(size, None)


@pytest.mark.parametrize(
    ("size", "tile", "falls_back"),
    [
        pytest.param((60, 90), None, True, id="whole"),
        pytest.param((60, 90), (8, 8), True, id="tiles that are mostly overlap"),
        pytest.param((8, 8), None, False, id="a picture of one tile"),
        pytest.param((12, 12), None, False, id="a picture whose tiles take more"),
    ],
)
def test_where_there_is_something_to_fall_back_on(size: Tile, tile: Tile | None, falls_back: bool) -> None:
    assert (leaner_tile(vae_of(), size, tile) is not None) == falls_back


@PROPERTY
@given(st.integers(1, 500))
def test_overlap_leaves_something_of_the_tile(tile: int) -> None:
    shared = overlap(tile)
    assert 0 <= shared < tile
    assert shared == tile - 1 if tile <= 4 else 4 <= shared <= max(4, tile / 5 + 0.5)


@PROPERTY
@given(LENGTHS, st.integers(1, 40))
def test_part_of_is_the_smallest_that_covers(length: int, parts: int) -> None:
    def covers(tile: int) -> bool:
        return tile >= length or parts * tile - (parts - 1) * overlap(tile) >= length

    tile = part_of(length, parts)
    assert 1 <= tile <= length and covers(tile)
    assert not any(covers(less) for less in range(1, tile))


@PROPERTY
@given(SIZES, st.none() | TILES)
def test_tile_plan(size: tuple[int, int], tile: tuple[int, int] | None) -> None:
    """Every latent is covered, no tile is larger than asked, and there are no more of them than of that size."""
    plan = tile_plan(torch.empty(1, 1, 4, *size, device="meta"), tile)
    covered = torch.zeros(size, dtype=torch.int32)
    for top, left, height, width in plan.tiles.tolist():
        assert top >= 0 and left >= 0 and top + height <= size[0] and left + width <= size[1]
        assert tile is None or (height <= tile[0] and width <= tile[1])
        covered[top : top + height, left : left + width] += 1
    assert bool((covered > 0).all())
    rows, columns = (min(a, b) for a, b in zip(tile or size, size, strict=True))
    assert len(plan) <= len(TilePlan(*size, rows, columns, overlap(rows), overlap(columns)))
