"""Velocity and noise: two ways to say the same, and the solver that reads them."""

from typing import Literal

import pytest
import torch

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.sampling.schedule import alphas_cumprod
from fantasyid_engine.sampling.solvers import DDIMSolver
from fantasyid_engine.training.objective import noised, target

V = ScheduleConfig()
EPSILON = ScheduleConfig(prediction_type="epsilon", rescale_betas_zero_snr=False)


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (count, 3, 4, 2, 2)
    z = torch.randn(shape, generator=generator, dtype=torch.float64)
    return z, torch.randn(shape, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("schedule", [V, EPSILON], ids=["zero-snr", "plain"])
def test_v_and_epsilon_give_the_same_x0_in_float64(schedule: ScheduleConfig) -> None:
    alphas = alphas_cumprod(schedule)
    timesteps = [0, 1, 100, 500, 900, 990]
    z, noise = drawn(len(timesteps))
    alpha = torch.tensor([alphas[t] for t in timesteps], dtype=torch.float64)
    x = noised(z, noise, alpha)
    read = {}
    for kind, config in (("v_prediction", V), ("epsilon", EPSILON)):
        solver = DDIMSolver(config, 50)
        said = target(kind, z, noise, alpha)  # pyright: ignore[reportArgumentType]
        read[kind] = torch.stack([solver.clean(x[i], said[i], float(alpha[i])) for i in range(len(timesteps))])
    assert read["v_prediction"].dtype == torch.float64
    torch.testing.assert_close(read["v_prediction"], read["epsilon"], rtol=0, atol=1e-10)
    torch.testing.assert_close(read["v_prediction"], z, rtol=0, atol=1e-10)


def test_at_zero_snr_only_v_tells_the_latents() -> None:
    assert alphas_cumprod(V)[-1] == 0
    z, noise = drawn(1)
    last = torch.zeros(1, dtype=torch.float64)
    torch.testing.assert_close(noised(z, noise, last), noise)
    torch.testing.assert_close(target("v_prediction", z, noise, last), -z)
    with pytest.raises(ValueError, match="prediction_type"):
        ScheduleConfig(prediction_type="epsilon")


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon"])
def test_targets_are_those_of_diffusers(kind: Literal["v_prediction", "epsilon"]) -> None:
    from diffusers.schedulers.scheduling_ddim_cogvideox import CogVideoXDDIMScheduler

    schedule = V if kind == "v_prediction" else EPSILON
    theirs = CogVideoXDDIMScheduler(
        beta_start=schedule.beta_start,
        beta_end=schedule.beta_end,
        rescale_betas_zero_snr=schedule.rescale_betas_zero_snr,
        snr_shift_scale=1.0,
        prediction_type=kind,
    )
    t = torch.tensor([10, 400, 950])
    z, noise = (x.float() for x in drawn(3))
    alpha = torch.tensor(alphas_cumprod(schedule))[t]
    torch.testing.assert_close(noised(z, noise, alpha), theirs.add_noise(z, noise, t), rtol=1e-4, atol=1e-4)
    if kind == "v_prediction":
        torch.testing.assert_close(
            target(kind, z, noise, alpha), theirs.get_velocity(z, noise, t), rtol=1e-4, atol=1e-4
        )
