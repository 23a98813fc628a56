"""What the VAE keeps of a clip: the ceiling of everything that the model can render.

    PSNR = 10 log10(255^2 / mean squared difference)        over all pixels of a clip of 8 bits a colour, in dB

C latent channels, F frames, H W height / width.
"""

from pathlib import Path

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from numpy.typing import NDArray

from fantasyid_engine.evaluation.frames import eight_bits, read_frames
from fantasyid_engine.training.proof.people import Subject, Tell, clip_path, write_clip
from fantasyid_engine.vae.decode import decode
from fantasyid_engine.vae.encode import posterior

LEAST_ERROR = 1e-10
"""Mean squared difference below which PSNR no longer grows."""


def write_reconstructions(
    vae: AutoencoderKLCogVideoX, place: Path, subjects: tuple[Subject, ...], fps: int, tell: Tell
) -> float:
    """Writes every true clip as the VAE gives it back -> the mean of the clips' PSNR in dB."""
    found = []
    for number, subject in enumerate(subjects, 1):
        true = read_frames(clip_path(place, "true", subject))
        made = reconstructed(vae, true)
        write_clip(made, place, "vae", subject, fps)
        found.append(psnr(made, true))
        tell("rendered vae", number, len(subjects))
    return float(np.mean(found))


def reconstructed(vae: AutoencoderKLCogVideoX, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB frames [F, H, W, 3] -> the same, encoded (the posterior's mean) and decoded."""
    x_13FHW = torch.from_numpy(frames).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
    mean_1CFHW = posterior(vae, x_13FHW).mean
    return eight_bits(decode(vae, vae.config["scaling_factor"] * mean_1CFHW.transpose(1, 2)))


def psnr(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Of two clips of one shape, dB."""
    error = np.square(one.astype(np.float64) - other).mean()
    return float(10 * np.log10(255**2 / max(error, LEAST_ERROR)))
