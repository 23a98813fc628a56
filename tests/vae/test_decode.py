"""Decoding whole, in chunks and in tiles, against diffusers' own decode."""

import math

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from torch import Tensor

from fantasyid_engine._native import TilePlan
from fantasyid_engine.config.render import VaeConfig
from fantasyid_engine.vae.decode import chunks, decode, decode_chunks, tile_cores, tile_plan
from fantasyid_engine.vae.lockstep import Moments, combine
from fantasyid_engine.weights.untrained import make_vae

CONFIG = VaeConfig(block_out_channels=(8, 8, 16), latent_channels=4, layers_per_block=1, norm_num_groups=4)


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLCogVideoX:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make_vae(CONFIG).eval().requires_grad_(False)


def latents(frames: int, height: int, width: int) -> Tensor:
    """Smooth, with another level in each corner, so that tiles would differ in mean and variance."""
    generator = torch.Generator().manual_seed(3)
    rough = torch.randn(frames, 4, 3, 3, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, size=(height, width), mode="bicubic")
    return (smooth + 0.2 * torch.randn(frames, 4, height, width, generator=generator))[None]


def psnr(actual: np.ndarray, expected: np.ndarray) -> float:
    error = ((actual.astype(np.float64) - expected) ** 2).mean() / 65535**2
    return math.inf if error == 0 else -10 * math.log10(error)


def diffusers_frames(vae: AutoencoderKLCogVideoX, latents_BFCHW: Tensor) -> Tensor:
    return vae.decode(latents_BFCHW.transpose(1, 2) / CONFIG.scaling_factor).sample[0]


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(1, [(0, 1)]), (3, [(0, 3)]), (5, [(0, 3), (3, 5)]), (13, [(0, 3), *((n, n + 2) for n in range(3, 13, 2))])],
)
def test_chunks(frames: int, expected: list[tuple[int, int]]) -> None:
    assert chunks(frames) == expected


@pytest.mark.parametrize("frames", [1, 3, 7])
def test_whole_picture_is_diffusers_decode(vae: AutoencoderKLCogVideoX, frames: int) -> None:
    x = latents(frames, 6, 10)
    made = torch.cat([tiles[0] for tiles in decode_chunks(vae, x, tile_plan(x, None))], dim=1)
    assert torch.equal(made, diffusers_frames(vae, x))


def test_frames_are_rounded_to_integers(vae: AutoencoderKLCogVideoX) -> None:
    x = latents(3, 6, 10)
    values = ((diffusers_frames(vae, x) / 2 + 0.5).clamp(0, 1).permute(1, 2, 3, 0)).numpy()
    assert np.array_equal(decode(vae, x), np.floor(values * np.float32(255) + 0.5).astype(np.uint8))
    deep = decode(vae, x, bits=16)
    assert deep.dtype == np.uint16 and np.abs(deep - values * 65535).max() <= 1


@pytest.mark.parametrize("tile", [(10, 10), (12, 30), (9, 13)])
def test_tiles_have_no_seams(vae: AutoencoderKLCogVideoX, tile: tuple[int, int]) -> None:
    """In lockstep tiles come at least 6 dB nearer to the whole picture than tiles on their own statistics."""
    x = latents(5, 24, 30)
    whole = decode(vae, x, bits=16)
    plan = tile_plan(x, tile)
    assert len(plan) > 1
    alone = np.zeros(whole.shape)
    weights = plan.scaled(4)
    for i, (top, left, height, width) in enumerate(plan.tiles.tolist()):
        part = decode(vae, x[..., top : top + height, left : left + width], bits=16)
        where = np.s_[:, 4 * top : 4 * (top + height), 4 * left : 4 * (left + width)]
        alone[where] += part * weights.weights(i)[..., None]
    assert psnr(decode(vae, x, tile, bits=16), whole) >= psnr(alone, whole) + 6


def test_tiles_leave_the_decoder_as_it_was(vae: AutoencoderKLCogVideoX) -> None:
    x = latents(3, 16, 16)
    before = decode(vae, x, bits=16)
    decode(vae, x, (8, 8))

    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        decode(vae, x, (8, 8), on_chunk=stop)
    assert np.array_equal(decode(vae, x, bits=16), before)


def test_cores_are_a_partition() -> None:
    plan = TilePlan(23, 31, 9, 11, 4, 5)
    owners = np.zeros((23, 31), dtype=int)
    for (top, left, _, _), core in zip(plan.tiles.tolist(), tile_cores(plan), strict=True):
        owners[top + core.rows[0] : top + core.rows[1], left + core.columns[0] : left + core.columns[1]] += 1
    assert (owners == 1).all()


def test_combined_moments_are_those_of_the_whole() -> None:
    values = torch.randn(3, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 5
    parts = [
        Moments(part.shape[1], part.mean(1), part.var(1, correction=0))
        for part in (values[:, :10], values[:, 10:35], values[:, 35:])
    ]
    made = combine(parts)
    assert made.number == 100
    torch.testing.assert_close(made.mean, values.mean(1))
    torch.testing.assert_close(made.var, values.var(1, correction=0))


def test_even_numbers_of_latent_frames_are_refused(vae: AutoencoderKLCogVideoX) -> None:
    with pytest.raises(ValueError, match="4 latent frames"):
        decode(vae, latents(4, 6, 6))


def test_progress_counts_chunks(vae: AutoencoderKLCogVideoX) -> None:
    seen = []
    decode(vae, latents(7, 6, 6), on_chunk=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
