"""TileBlender under several Python threads: the frames of a serial run, and refusals that stay refusals."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import numpy as np
import pytest

from fantasyid_engine._native import TileBlender, TilePlan
from tests.csrc.test_tile_blender import blended, random_pixels, tile_by_tile

PLAN = TilePlan(120, 180, 48, 72, 12, 18)
THREADS = 8
FRAMES = 3 * THREADS


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_on_blenders_of_their_own(threads: int) -> None:
    pixels = [random_pixels(PLAN, 5, seed) for seed in range(THREADS)]
    start = Barrier(THREADS)

    def run(seed: int) -> np.ndarray:
        start.wait()
        return blended(PLAN, pixels[seed], tile_by_tile(PLAN, 5), threads=threads)

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(run, range(THREADS)))
    for seed in range(THREADS):
        np.testing.assert_array_equal(found[seed], blended(PLAN, pixels[seed], tile_by_tile(PLAN, 5), threads=1))


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_on_one_blender(threads: int) -> None:
    pixels = random_pixels(PLAN, FRAMES)
    blender = TileBlender(PLAN, FRAMES, threads=threads)
    start = Barrier(THREADS)

    def run(worker: int) -> None:
        start.wait()
        for tile in range(len(PLAN)):
            for frame in range(worker, FRAMES, THREADS):
                assert not blender.complete
                blender.add(tile, frame, pixels[tile][:, frame : frame + 1])

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))
    np.testing.assert_array_equal(blender.frames(), blended(PLAN, pixels, tile_by_tile(PLAN, FRAMES), threads=1))


def test_of_threads_with_the_same_tile_one_wins() -> None:
    pixels = random_pixels(PLAN, 2)
    blender = TileBlender(PLAN, 2)
    start = Barrier(THREADS)

    def run(_: int) -> int:
        taken = 0
        for tile in range(len(PLAN)):
            start.wait()
            with suppress(ValueError):
                blender.add(tile, 0, pixels[tile])
                taken += 1
        return taken

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(run, range(THREADS))) == len(PLAN)
    np.testing.assert_array_equal(blender.frames(), blended(PLAN, pixels, tile_by_tile(PLAN, 2)))
