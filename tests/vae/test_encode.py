"""A photo's latents against diffusers' own encode: the first frame, scaled, with one draw; stretched to the video."""

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from PIL import Image
from torch import Tensor

from fantasyid_engine.config.render import VaeConfig
from fantasyid_engine.sampling.noise import SeededNoise
from fantasyid_engine.vae.encode import encode_photo, posterior, stretch
from fantasyid_engine.weights.untrained import make_vae

CONFIG = VaeConfig(block_out_channels=(8, 8, 16), latent_channels=4, layers_per_block=1, norm_num_groups=4)
SIZE = (24, 36)
FRAMES = 3


@pytest.fixture(scope="module")
def vae() -> AutoencoderKLCogVideoX:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        return make_vae(CONFIG).eval().requires_grad_(False)


def picture(height: int, width: int) -> np.ndarray:
    """Another colour in each corner, and noise."""
    rows, columns = np.meshgrid(np.linspace(0, 255, height), np.linspace(0, 255, width), indexing="ij")
    noise = np.random.default_rng(1).integers(0, 255, (height, width))
    return np.stack([rows, columns, noise], axis=2).astype(np.uint8)


class Draws:
    """A noise source that remembers what was asked of it."""

    def __init__(self, value: Tensor | float | None = None) -> None:
        self.value, self.noise = value, SeededNoise(4)
        self.drawn: list[Tensor] = []

    def __call__(self, like: Tensor) -> Tensor:
        assert like.dtype == torch.float32, "the draw is float32 in any model"
        self.drawn.append(self.noise(like) if self.value is None else torch.full_like(like, self.value))
        return self.drawn[-1]


def diffusers_posterior(vae: AutoencoderKLCogVideoX, crop: np.ndarray) -> tuple[Tensor, Tensor]:
    resized = np.asarray(Image.fromarray(crop).resize((SIZE[1], SIZE[0]), Image.Resampling.LANCZOS))
    pixels = torch.from_numpy(resized.copy()).permute(2, 0, 1).float() / 127.5 - 1
    with torch.inference_mode():
        distribution = vae.encode(pixels[None, :, None].to(vae.dtype)).latent_dist
    return distribution.mean.float(), distribution.std.float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_first_frame_is_the_posteriors_draw(vae: AutoencoderKLCogVideoX, dtype: torch.dtype) -> None:
    model, draws, crop = make_vae(CONFIG).eval(), Draws(), picture(40, 60)
    model.load_state_dict(vae.state_dict())
    torch.nn.Module.to(model, dtype)
    made = encode_photo(model, crop, SIZE, FRAMES, draws)
    assert made.shape == (1, FRAMES, CONFIG.latent_channels, SIZE[0] // 4, SIZE[1] // 4) and made.dtype == dtype
    mean, deviation = diffusers_posterior(model, crop)
    (noise,) = draws.drawn
    expected = CONFIG.scaling_factor * (mean + deviation * noise)
    error = (made[:, 0].float() - expected[:, :, 0]).norm() / expected.norm()
    assert error < (1e-5 if dtype == torch.float32 else 1e-2)
    assert deviation.min() > 0.1, "the draw shows"


@pytest.mark.parametrize("frames", [1, 2, 13])
def test_other_frames_are_zero(vae: AutoencoderKLCogVideoX, frames: int) -> None:
    made = encode_photo(vae, picture(24, 36), SIZE, frames, SeededNoise(0))
    assert made.shape[1] == frames
    assert bool((made[:, 0] != 0).all()) and not made[:, 1:].any()
    assert torch.equal(made[:, :1], encode_photo(vae, picture(24, 36), SIZE, 1, SeededNoise(0)))


def test_the_draw_is_used_once_and_scaled_by_the_deviation(vae: AutoencoderKLCogVideoX) -> None:
    crop = picture(30, 30)
    mean, deviation = diffusers_posterior(vae, crop)
    at_mean, above = (encode_photo(vae, crop, SIZE, FRAMES, Draws(value))[:, 0] for value in (0.0, 2.0))
    torch.testing.assert_close(at_mean, CONFIG.scaling_factor * mean[:, :, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(above - at_mean, 2 * CONFIG.scaling_factor * deviation[:, :, 0], rtol=1e-4, atol=1e-4)


def test_posterior_is_deterministic(vae: AutoencoderKLCogVideoX) -> None:
    pixels = stretch(picture(24, 36), SIZE)
    before = torch.get_rng_state()
    assert torch.equal(posterior(vae, pixels).mean, posterior(vae, pixels).mean)
    encode_photo(vae, picture(24, 36), SIZE, FRAMES, SeededNoise(0))
    assert torch.equal(torch.get_rng_state(), before), "no draw but the render's own"


@pytest.mark.parametrize(("height", "width"), [(40, 60), (60, 40), (50, 50), (24, 36), (1, 1)], ids=str)
def test_stretch(height: int, width: int) -> None:
    """The whole picture whatever its proportions: nothing is cut off and no border added."""
    crop = picture(height, width)
    made = stretch(crop, SIZE)
    assert made.shape == (1, 3, 1, *SIZE) and made.dtype == torch.float32
    assert made.min() >= -1 and made.max() <= 1
    expected = np.asarray(Image.fromarray(crop).resize((SIZE[1], SIZE[0]), Image.Resampling.LANCZOS))
    torch.testing.assert_close((made[0, :, 0].permute(1, 2, 0) + 1) * 127.5, torch.from_numpy(expected.copy()).float())
    if min(height, width) > 1:
        red, green = made[0, 0, 0], made[0, 1, 0]
        assert red[0].max() < -0.8 and red[-1].min() > 0.8, "rows run from top to bottom"
        assert green[:, 0].max() < -0.8 and green[:, -1].min() > 0.8, "columns from left to right"


@pytest.mark.parametrize(("value", "expected"), [(0, -1.0), (255, 1.0), (128, 0.00392157)])
def test_range_of_values(value: int, expected: float) -> None:
    made = stretch(np.full((8, 8, 3), value, dtype=np.uint8), (16, 12))
    torch.testing.assert_close(made, torch.full_like(made, expected))
