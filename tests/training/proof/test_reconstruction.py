from pathlib import Path

import numpy as np
import pytest
import torch

from fantasyid_engine.evaluation.frames import read_frames
from fantasyid_engine.training.proof.people import clip_path
from fantasyid_engine.training.proof.reconstruction import psnr, reconstructed, write_reconstructions
from tests.training.proof.cases import lively_engine, quiet, subjects


def test_psnr_by_hand() -> None:
    """Five levels off everywhere: 20 log10(255 / 5)."""
    frames = np.full((2, 4, 4, 3), 100, np.uint8)
    assert psnr(frames, frames + 5) == pytest.approx(20 * np.log10(51))
    half = frames.copy()
    half[0] += 5  # half of the squares
    assert psnr(frames, half) == pytest.approx(20 * np.log10(51) + 10 * np.log10(2))
    assert np.isfinite(psnr(frames, frames))


def test_reconstructions_are_diffusers_own_of_the_mean(tmp_path: Path) -> None:
    vae, people = lively_engine().model.vae, subjects(tmp_path)
    mean = write_reconstructions(vae, tmp_path, people, 8, quiet)
    found = []
    for person in people:
        true = read_frames(clip_path(tmp_path, "true", person))
        with torch.inference_mode():
            x = torch.from_numpy(true).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
            (encoded,) = vae.encode(x, return_dict=False)
            (decoded,) = vae.decode(encoded.mean, return_dict=False)
        pixels = ((torch.as_tensor(decoded)[0].clamp(-1, 1) + 1) * 127.5).round().permute(1, 2, 3, 0).numpy()
        made = reconstructed(vae, true)
        assert np.abs(made - pixels).max() <= 1
        assert (read_frames(clip_path(tmp_path, "vae", person)) == made).all()
        found.append(10 * np.log10(255**2 / np.square(pixels - true).mean()))
    assert mean == pytest.approx(np.mean(found), abs=0.01)
