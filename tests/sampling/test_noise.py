"""The noise of a seed: the same in any dtype, in order, and continued from a saved state."""

from itertools import combinations

import pytest
import torch

from fantasyid_engine.request import LARGEST_SEED
from fantasyid_engine.sampling.noise import SeededNoise

SHAPES = [(1, 4, 1, 3, 3), (1, 3, 4, 6, 8), (5,), (1, 2, 4, 2, 2)]


def draws(seed: int, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[torch.Tensor]:
    noise = SeededNoise(seed)
    return [noise(torch.empty(shape, dtype=dtype, device=device)) for shape in SHAPES]


@pytest.mark.parametrize("seed", [0, 7, LARGEST_SEED])
def test_draws_are_torchs_in_order(seed: int) -> None:
    generator = torch.Generator("cpu").manual_seed(seed)
    for made, shape in zip(draws(seed), SHAPES, strict=True):
        assert torch.equal(made, torch.randn(shape, generator=generator))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_any_dtype_is_a_cast_of_the_float32_draw(dtype: torch.dtype) -> None:
    for made, exact in zip(draws(3, dtype), draws(3), strict=True):
        assert made.dtype == dtype
        assert torch.equal(made, exact.to(dtype))


def test_it_is_standard_normal() -> None:
    made = SeededNoise(1)(torch.empty(100_000))
    assert abs(made.mean()) < 0.02 and abs(made.std() - 1) < 0.02


def test_draws_go_to_the_device_of_the_latents() -> None:
    """On torch's meta device, which has shapes and no values."""
    noise = SeededNoise(5)
    assert noise(torch.empty(2, 3, device="meta")).device.type == "meta"
    second = noise(torch.empty(4))
    noise = SeededNoise(5)
    noise(torch.empty(2, 3))
    assert torch.equal(noise(torch.empty(4)), second), "the next draw does not depend on the device of the last"


def test_every_seed_of_a_request_is_one_of_its_own() -> None:
    """From zero to the largest, also where two have the same lower half."""
    seeds = {0, 1, 2**31, LARGEST_SEED // 2, LARGEST_SEED, LARGEST_SEED // 2 % 2**32, LARGEST_SEED % 2**32}
    made = {seed: draws(seed)[0] for seed in seeds}
    for one, other in combinations(seeds, 2):
        assert not torch.equal(made[one], made[other]), f"seeds {one} and {other}"


def test_state_is_where_it_stands() -> None:
    noise, like = SeededNoise(9), torch.empty(1, 2, 4, 3, 5)
    noise(like)
    state = noise.state()
    assert state.dtype == torch.uint8
    rest = [noise(like) for _ in range(3)]
    for other in (noise, SeededNoise(1)):
        other.restore(state)
        assert all(torch.equal(other(like), expected) for expected in rest)


def test_a_state_is_not_changed_by_later_draws() -> None:
    noise = SeededNoise(9)
    state = noise.state()
    before = state.clone()
    noise(torch.empty(100))
    assert torch.equal(state, before) and not torch.equal(noise.state(), before)


@pytest.mark.parametrize("size", [0, 3, 5056], ids=["empty", "short", "zeros"])
def test_what_is_no_state(size: int) -> None:
    noise = SeededNoise(2)
    with pytest.raises(RuntimeError):
        noise.restore(torch.zeros(size, dtype=torch.uint8))
    assert torch.equal(noise(torch.empty(5)), SeededNoise(2)(torch.empty(5)))


def test_torchs_own_randomness_is_left_alone() -> None:
    before = torch.get_rng_state()
    draws(4)
    assert torch.equal(torch.get_rng_state(), before)
