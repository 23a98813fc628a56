"""The photo as image latents, for models that take it as the first latent frame (image-to-video).

    z = mean + exp(0.5 log var) * noise;    frame 0 = scaling_factor * z, the other frames 0

The crop is stretched to the video's size, whatever its proportions, as the release does it.

F latent frames, C latent channels, H W latent height / width.
Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, models/pipeline_id.py.
"""

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fantasyid_engine.sampling.solvers import Noise


def stretch(crop: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
    """RGB picture [h, w, 3] -> [1, 3, 1, height, width] float32 in [-1, 1], Lanczos; `size` is (height, width)."""
    height, width = size
    stretched = Image.fromarray(crop).resize((width, height), Image.Resampling.LANCZOS)
    picture = torch.from_numpy(np.asarray(stretched, dtype=np.float32) / 255)
    return 2 * picture.permute(2, 0, 1)[None, :, None] - 1


@torch.inference_mode()
def posterior(vae: AutoencoderKLCogVideoX, picture_B3FHW: Tensor) -> DiagonalGaussianDistribution:
    """What the VAE makes of a picture: a normal distribution over latents [1, C, 1, H, W]."""
    encoded = vae.encode(picture_B3FHW.to(vae.device, vae.dtype), return_dict=False)
    return encoded[0]


@torch.inference_mode()
def encode_photo(
    vae: AutoencoderKLCogVideoX, crop: NDArray[np.uint8], size: tuple[int, int], frames: int, noise: Noise
) -> Tensor:
    """Image latents of a photo.

    Args:
        vae: the VAE.
        crop: RGB [h, w, 3].
        size: height and width of the video in pixels.
        frames: latent frames of the video.
        noise: gives the posterior's draw, float32.

    Returns:
        [1, F, C, H, W] in the VAE's dtype.
    """
    distribution = posterior(vae, stretch(crop, size))
    mean = distribution.mean.float()
    z = vae.config["scaling_factor"] * (mean + distribution.std.float() * noise(mean))
    first = z.to(vae.dtype).transpose(1, 2)
    rest = first.new_zeros(1, frames - 1, *first.shape[2:])
    return torch.cat([first, rest], dim=1)
