"""The authors' whole pipeline on a small model, through the product's own stages, from one seed to frames."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.models.fused import FusedDiT
from fantasyid_engine.models.network import Network
from fantasyid_engine.sampling.loop import denoise
from fantasyid_engine.sampling.noise import SeededNoise
from fantasyid_engine.sampling.predict import dit_predictor
from fantasyid_engine.sampling.solvers import Step, make_solver
from fantasyid_engine.vae.decode import decode, decode_chunks, tile_plan
from fantasyid_engine.vae.encode import encode_photo, posterior, stretch
from tests.goldens import assert_close, golden, normal
from tests.vae.golden_vae import golden_vae, picture, pipeline

pytestmark = pytest.mark.reference_data


@pytest.mark.parametrize("backend", ["eager", "fused", "folded"])
def test_every_stage(backend: str, golden_network: Network) -> None:
    """Eager, and on the kernels' references."""
    render(backend, golden_network, torch.device("cpu"))


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["fused", "folded"])
def test_every_stage_on_the_kernels(backend: str, golden_network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, as the goldens are, and not in TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setenv("FANTASYID_KERNELS", "triton")
    render(backend, golden_network, torch.device("cuda"))


def render(backend: str, golden_network: Network, device: torch.device) -> None:
    """Every stage against the authors'; the DiT on `device`, all else on the CPU."""
    expected, _ = pipeline()
    vae, crop = golden_vae(), picture("input.pipeline.image", 512, 512).numpy()
    noise = SeededNoise(42)

    assert_close("image", stretch(crop, (64, 64))[:, :, 0], expected["image"], 1e-6)
    assert_close("posterior", posterior(vae, stretch(crop, (64, 64))).parameters, expected["posterior"], 8e-6)
    image_latents = encode_photo(vae, crop, (64, 64), 3, noise)
    assert_close("image_latents", image_latents, expected["image_latents"], 8e-6)
    initial = noise(torch.empty(1, 3, 16, 8, 8))
    assert_close("initial_latents", initial, expected["initial_latents"], 1e-6)

    with torch.inference_mode():
        vertices = golden("mesh")["vertices.newton"][None]
        id_kv = golden_network.conditioner(normal("input.pipeline.vit_hidden.4", 1, 577, 1024), vertices)
    text = torch.cat([normal(f"input.pipeline.{kind}", 1, 16, 4096) for kind in ("negative", "prompt")])
    solver = make_solver("dpm", ScheduleConfig(), 4, noise)
    dit = golden_network.dit
    if backend != "eager":
        dit = FusedDiT(deepcopy(dit).to(device), folds=backend == "folded")
    there = (part.to(device) for part in (id_kv, text, image_latents))
    on_device = dit_predictor(dit, *there, (3, 8, 8), 6.0, [step.t for step in solver])

    def predict(x: Tensor, t: int) -> Tensor:
        return on_device(x.to(device), t).cpu()

    seen: list[Tensor] = []

    def on_step(step: Step, x: Tensor, history: Tensor | None) -> None:
        seen.append(x)

    latents = denoise(predict, solver, initial, on_step=on_step)
    assert [step.t for step in solver] == expected["timesteps"].tolist()
    for i in range(4):
        assert_close(f"latents[{i}]", seen[i], expected["latents"][i], 2e-5)

    decoded = torch.cat([tiles[0] for tiles in decode_chunks(vae, latents, tile_plan(latents, None))], dim=1)
    assert_close("decoded", decoded[None], expected["decoded"], 4e-5)
    frames = decode(vae, latents, bits=16)
    wanted = expected["frames"][0].permute(0, 2, 3, 1).numpy()
    assert np.abs(frames / 65535.0 - wanted).max() < 4e-5 + 1 / 65535


def test_draws_come_in_the_authors_order() -> None:
    """One generator: posterior, initial latents, then the solver's."""
    expected, _ = pipeline()
    noise = SeededNoise(42)
    assert torch.equal(noise(expected["draws.posterior"]), expected["draws.posterior"])
    assert torch.equal(noise(expected["draws.latents"]), expected["draws.latents"])
    for draw in expected["draws.steps"]:
        assert torch.equal(noise(draw), draw)


def test_chunks_of_five_latent_frames() -> None:
    """Three, then two, with the convolutions' memory carried over: 17 frames."""
    expected, _ = pipeline()
    latents = 0.7 * normal("input.vae.latents5", 1, 16, 5, 4, 4).transpose(1, 2)
    chunks = list(decode_chunks(golden_vae(), latents, tile_plan(latents, None)))
    assert [tiles[0].shape[1] for tiles in chunks] == [9, 8]
    assert_close("decode5", torch.cat([tiles[0] for tiles in chunks], dim=1)[None], expected["vae.decode5"], 5e-6)
