"""Previews of a render: pictures of the clean latents so far, taken when asked for, that change nothing."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fantasyid_engine import engine as module
from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.engine import Engine
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.progress import Progress
from fantasyid_engine.request import VideoRequest
from fantasyid_engine.result import VideoResult
from fantasyid_engine.runtime.plan import ExecutionPlan
from fantasyid_engine.sampling.solvers import make_solver
from fantasyid_engine.weights.model import Model
from tests.face.pictures import avatar, encoded
from tests.whole_model import SIZE, paper_model

REQUEST = VideoRequest(image=encoded(avatar(80), "PNG"), prompt="smiles", seed=11, num_inference_steps=4)


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(paper_model()) as engine:
        yield engine


class Taken:
    """Takes each step's preview and state."""

    def __init__(self) -> None:
        self.pictures: list[NDArray[np.uint8]] = []
        self.x0: list[Tensor] = []
        self.latents: list[Tensor] = []

    def __call__(self, progress: Progress) -> None:
        assert (progress.preview is not None) == (progress.stage == "denoise" and progress.step > 0)
        if progress.preview is not None and progress.state is not None:
            state = progress.state()
            assert state.history is not None
            self.pictures.append(progress.preview())
            self.x0.append(state.history)
            self.latents.append(state.latents)


def with_solver(name: str) -> Model:
    model = paper_model()
    return replace(model, render=replace(model.render, solver=name))


def alone(model: Model, x0_BFCHW: Tensor) -> NDArray[np.float32]:
    """Its first latent frame through diffusers' own decoder, from 0 to 255."""
    first = x0_BFCHW[:, :1].transpose(1, 2) / model.vae.config["scaling_factor"]
    with torch.inference_mode():
        decoded = model.vae.decode(first).sample[0]
    assert decoded.shape[1] == 1
    return ((decoded[:, 0] / 2 + 0.5).clamp(0, 1) * 255).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("solver", ["dpm", "ddim"])
def test_previews_show_the_clean_latents_and_change_nothing(solver: str) -> None:
    taken = Taken()
    with Engine(with_solver(solver)) as engine:
        before = torch.get_rng_state()
        watched, plain = engine.generate(REQUEST, on_progress=taken), engine.generate(REQUEST)
        assert torch.equal(torch.get_rng_state(), before)
        model = engine.model
    assert watched.frames_sha256 == plain.frames_sha256 and np.array_equal(watched.frames, plain.frames)
    assert len(taken.pictures) == 4
    for picture, x0 in zip(taken.pictures, taken.x0, strict=True):
        assert picture.shape == (*SIZE, 3) and picture.dtype == np.uint8
        assert np.abs(picture - alone(model, x0)).max() < 0.51
    assert np.abs(taken.pictures[0] - alone(model, taken.latents[0])).max() > 5, "the noisy latents look otherwise"
    assert np.abs(taken.pictures[0].astype(int) - taken.pictures[3]).max() > 5
    torch.testing.assert_close(taken.x0[3], taken.latents[3], rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", ["dpm", "ddim"])
def test_solvers_hand_out_the_clean_latents(solver: str) -> None:
    """x = sqrt(A) x0 + sqrt(1 - A) e and v = sqrt(A) e - sqrt(1 - A) x0 give x0 back."""
    clean, noise = torch.randn(2, 1, 3, 4, 2, 2, generator=torch.Generator().manual_seed(1))
    for step in (made := make_solver(solver, ScheduleConfig(), 5, torch.zeros_like)):
        signal, rest = step.alpha**0.5, (1 - step.alpha) ** 0.5
        x, v = signal * clean + rest * noise, signal * noise - rest * clean
        _, x0 = made.advance(x, v, step, None)
        torch.testing.assert_close(x0, clean, rtol=0, atol=2e-6)


def test_nothing_is_decoded_unless_asked(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    frames: list[int] = []
    decode = module.decode

    def counted(vae, latents_BFCHW, *arguments, **options):
        frames.append(latents_BFCHW.shape[1])
        return decode(vae, latents_BFCHW, *arguments, **options)

    monkeypatch.setattr(module, "decode", counted)
    engine.generate(REQUEST, on_progress=lambda progress: None)
    assert frames == [3]

    def at_two(progress: Progress) -> None:
        if progress.preview is not None and progress.step == 2:
            progress.preview()

    engine.generate(REQUEST, on_progress=at_two)
    assert frames == [3, 1, 3]


@pytest.mark.parametrize("change", [{"num_frames": 1}, {"bit_depth": 16}], ids=str)
def test_other_renders(engine: Engine, change: dict) -> None:
    taken = Taken()
    watched = engine.generate(replace(REQUEST, **change), on_progress=taken)
    assert watched.frames_sha256 == engine.generate(replace(REQUEST, **change)).frames_sha256
    assert {(picture.shape, picture.dtype) for picture in taken.pictures} == {((*SIZE, 3), np.dtype(np.uint8))}
    if "num_frames" in change:
        assert np.array_equal(taken.pictures[-1], watched.frames[0])


def test_tiles_of_the_plan(engine: Engine) -> None:
    def render(tile: tuple[int, int] | None) -> tuple[VideoResult, Taken]:
        taken = Taken()
        plan = ExecutionPlan(device="cpu", precision="float32", vae_tile=tile)
        return engine.generate(REQUEST, on_progress=taken, plan=plan), taken

    (result, tiled), (_, whole) = render((8, 8)), render(None)
    plan = ExecutionPlan(device="cpu", precision="float32", vae_tile=(8, 8))
    assert result.frames_sha256 == engine.generate(REQUEST, plan=plan).frames_sha256
    assert all(torch.equal(*pair) for pair in zip(tiled.x0, whole.x0, strict=True))
    assert not np.array_equal(tiled.pictures[-1], whole.pictures[-1])


def test_a_resumed_render_has_the_same_previews(engine: Engine) -> None:
    taken, resumed, states = Taken(), Taken(), []

    def keep(progress: Progress) -> None:
        taken(progress)
        if progress.state is not None:
            states.append(progress.state())

    engine.generate(REQUEST, on_progress=keep)
    engine.generate(REQUEST, on_progress=resumed, resume=states[1])
    assert len(resumed.pictures) == 2
    assert all(np.array_equal(*pair) for pair in zip(resumed.pictures, taken.pictures[2:], strict=True))


def test_latents_that_are_no_numbers() -> None:
    """The error is still the one that a render without previews ends with."""
    model, taken = paper_model(), Taken()
    model.network.dit.proj_out.bias.data.fill_(float("nan"))
    with Engine(model) as engine, pytest.raises(ConfigError, match="the model makes values that are no numbers"):
        engine.generate(REQUEST, on_progress=taken)
    assert len(taken.pictures) == 4
