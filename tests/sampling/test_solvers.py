"""Solvers against the authors' scheduler and against diffusers' classes."""

import math

import pytest
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXDPMScheduler
from torch import Tensor

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.sampling.schedule import alphas_cumprod, trailing_timesteps
from fantasyid_engine.sampling.solvers import DDIMSolver, DPMSolver, Solver
from tests.goldens import assert_close, golden, normal, relative_l2

SETTINGS = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
    "snr_shift_scale": 1.0,
}
SHAPE = (1, 2, 16, 4, 4)


class Draws:
    """Noise by number, as the goldens name it; counts what was drawn."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, like: Tensor) -> Tensor:
        noise = normal(f"input.sched_noise.{self.count}", *like.shape)
        self.count += 1
        return noise.to(like.dtype)


def walk(solver: Solver, x: Tensor) -> list[Tensor]:
    """Latents after each step, with the goldens' model outputs."""
    history, after = None, []
    for step in solver:
        x, history = solver.advance(x, normal(f"input.sched_model_output.{step.index}", *SHAPE), step, history)
        after.append(x)
    return after


@pytest.mark.reference_data
def test_dpm_matches_the_authors_in_float32() -> None:
    after = walk(DPMSolver(ScheduleConfig(), 4, draws := Draws()), normal("input.sched_latents", *SHAPE))
    for i, latents in enumerate(golden("scheduler_dpm")["dpm.f32.4.latents"]):
        assert_close(f"step {i}", after[i], latents, 1e-6)
    assert draws.count == 6


@pytest.mark.reference_data
def test_dpm_in_bfloat16_errs_no_more_than_the_authors() -> None:
    """Error against their float32 run. Bits differ: on a CPU their 0-dim coefficients round to bfloat16 as well."""
    exact, theirs = golden("scheduler_dpm")["dpm.f32.4.latents"], golden("scheduler_dpm")["dpm.bf16.4.latents"]
    ours = walk(DPMSolver(ScheduleConfig(), 4, Draws()), normal("input.sched_latents", *SHAPE).bfloat16())
    for i in range(4):
        assert ours[i].dtype == torch.bfloat16
        assert relative_l2(ours[i], exact[i]) <= relative_l2(theirs[i], exact[i]), f"step {i}"
        assert_close(f"step {i}", ours[i].float(), theirs[i], 1e-2)


@pytest.mark.reference_data
def test_schedule_matches_the_authors() -> None:
    expected = golden("scheduler_dpm")
    alphas = torch.tensor(alphas_cumprod(ScheduleConfig()), dtype=torch.float64)
    torch.testing.assert_close(alphas, expected["dpm.alphas_cumprod"], rtol=1e-12, atol=1e-15)
    assert alphas[-1] == 0
    assert trailing_timesteps(1000, 50) == expected["dpm.timesteps50"].tolist()


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 6, 7, 28, 30, 50, 333, 1000])
def test_timesteps_match_diffusers(steps: int) -> None:
    theirs = CogVideoXDPMScheduler(**SETTINGS)
    theirs.set_timesteps(steps)
    assert trailing_timesteps(1000, steps) == theirs.timesteps[:steps].tolist()


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [1, 2, 4, 6, 7, 28, 50])
def test_dpm_matches_diffusers(steps: int, shift: float) -> None:
    """Also where the steps do not divide 1000, so that the last step may lead to timestep 0 and draw twice."""
    theirs = CogVideoXDPMScheduler(**SETTINGS | {"snr_shift_scale": shift})
    theirs.set_timesteps(steps)
    timesteps = trailing_timesteps(1000, steps)
    ours = walk(DPMSolver(ScheduleConfig(snr_shift_scale=shift), steps, Draws()), normal("x", *SHAPE))

    x, old, draws = normal("x", *SHAPE), None, Draws()
    for i, t in enumerate(timesteps):
        output = normal(f"input.sched_model_output.{i}", *SHAPE)
        x, old = dpm_of_diffusers(theirs, output, old, i, timesteps, x, draws)
        assert_close(f"step {i} (t = {t})", ours[i], x, 1e-5)


def dpm_of_diffusers(scheduler, output, old, i, timesteps, x, draws):
    """Their step with our draws: their `randn_tensor` is replaced for the call."""
    from diffusers.schedulers import scheduling_dpm_cogvideox as module

    real, module.randn_tensor = module.randn_tensor, lambda shape, **kwargs: draws(x)
    try:
        back = timesteps[i - 1] if i else None
        return scheduler.step(output, old, timesteps[i], back, x, return_dict=False)
    finally:
        module.randn_tensor = real


@pytest.mark.parametrize("prediction", ["v_prediction", "epsilon"])
@pytest.mark.parametrize("steps", [1, 4, 7, 50])
def test_ddim_matches_diffusers(steps: int, prediction: str) -> None:
    zero_snr = prediction == "v_prediction"
    settings = SETTINGS | {"prediction_type": prediction, "rescale_betas_zero_snr": zero_snr}
    theirs = CogVideoXDDIMScheduler(**settings)
    theirs.set_timesteps(steps)
    config = ScheduleConfig(prediction_type=prediction, rescale_betas_zero_snr=zero_snr)
    ours, x = walk(DDIMSolver(config, steps), normal("x", *SHAPE)), normal("x", *SHAPE)
    for i, t in enumerate(trailing_timesteps(1000, steps)):
        x = theirs.step(normal(f"input.sched_model_output.{i}", *SHAPE), t, x, return_dict=False)[0]
        assert_close(f"step {i}", ours[i], x, 2e-5)


def test_draws_are_those_of_the_release() -> None:
    """98 draws in 50 steps: one at the first and last, two between; the last step of 6 leads to timestep 0: two."""
    for steps, expected in ((50, 98), (4, 6), (1, 1), (6, 11)):
        walk(DPMSolver(ScheduleConfig(), steps, draws := Draws()), normal("x", *SHAPE))
        assert draws.count == expected, steps


def test_last_step_of_ddim_is_the_clean_prediction() -> None:
    """With a perfect prediction, one step from pure noise gives the clean latents."""
    x0, noise = normal("x0", *SHAPE), normal("noise", *SHAPE)
    solver = DDIMSolver(ScheduleConfig(), 1)
    (step,) = solver
    assert step.alpha == 0 and step.last
    torch.testing.assert_close(solver.advance(noise, -x0, step, None)[0], x0)


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_number_of_steps(steps: int) -> None:
    with pytest.raises(ValueError, match=r"num_inference_steps is -?\d+; it must be 1 to 1000"):
        DDIMSolver(ScheduleConfig(), steps)


def test_v_and_epsilon_imply_the_same_clean_latents() -> None:
    x0, noise = normal("x0", *SHAPE).double(), normal("noise", *SHAPE).double()
    epsilon = DDIMSolver(ScheduleConfig(prediction_type="epsilon", rescale_betas_zero_snr=False), 10)
    velocity = DDIMSolver(ScheduleConfig(rescale_betas_zero_snr=False), 10)
    for step in epsilon:
        a = step.alpha
        x = math.sqrt(a) * x0 + math.sqrt(1 - a) * noise
        v = math.sqrt(a) * noise - math.sqrt(1 - a) * x0
        torch.testing.assert_close(epsilon.clean(x, noise, a), velocity.clean(x, v, a), rtol=0, atol=1e-12)
