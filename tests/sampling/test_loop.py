"""The denoise loop, through guidance, solver and the whole network, against the authors' pipeline."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.render import ScheduleConfig
from fantasyid_engine.models.network import Network
from fantasyid_engine.sampling.guidance import guided
from fantasyid_engine.sampling.loop import denoise
from fantasyid_engine.sampling.solvers import DDIMSolver, DPMSolver, Step
from tests.goldens import assert_close, golden, normal, require_reference


@pytest.mark.reference_data
@torch.inference_mode()
def test_matches_the_authors_pipeline(golden_network: Network) -> None:
    """Given initial noise, image latents and draws: guided predictions and latents of all four steps."""
    from safetensors.torch import load_file

    expected = load_file(require_reference() / "goldens" / "faces" / "pipeline.safetensors")
    dit, conditioner = golden_network.dit, golden_network.conditioner
    id_kv = conditioner(normal("input.pipeline.vit_hidden.4", 1, 577, 1024), golden("mesh")["vertices.newton"][None])
    text = torch.cat([normal(f"input.pipeline.{kind}", 1, 16, 4096) for kind in ("negative", "prompt")])
    embedded = dit.embed(text, 3, 8, 8, expected["image_latents"])
    draws, predictions, latents = iter(expected["draws.steps"]), [], []

    def predict(x: Tensor, t: int) -> Tensor:
        predictions.append(dit(x, torch.full((len(x),), t), embedded, id_kv))
        return predictions[-1]

    def on_step(step: Step, x: Tensor, history: Tensor | None) -> None:
        latents.append(x)

    solver = DPMSolver(ScheduleConfig(), 4, noise=lambda like: next(draws))
    denoise(guided(predict, 6.0), solver, expected["initial_latents"], on_step=on_step)

    assert [step.t for step in solver] == expected["timesteps"].tolist()
    for i in range(4):
        assert_close(f"noise_pred[{i}]", predictions[i], expected["noise_pred"][i], 2e-5)
        assert_close(f"latents[{i}]", latents[i], expected["latents"][i], 2e-5)
    assert next(draws, None) is None


@pytest.mark.parametrize("guidance", [False, True])
def test_history_is_float32_in_a_bfloat16_model(guidance: bool) -> None:
    histories = []

    class Watched(DPMSolver):
        def advance(self, x: Tensor, prediction: Tensor, step: Step, history: Tensor | None):
            histories.append(history)
            return super().advance(x, prediction, step, history)

    def predict(x: Tensor, t: int) -> Tensor:
        return x

    x = torch.randn(1, 1, 4, 2, 2, dtype=torch.bfloat16)
    done = denoise(guided(predict, 2.0) if guidance else predict, Watched(ScheduleConfig(), 4, torch.randn_like), x)
    assert done.dtype == torch.bfloat16
    assert [history.dtype for history in histories[1:]] == [torch.float32] * 3


class Cancelled(Exception):
    pass


def test_raising_in_on_step_cancels() -> None:
    calls = []

    def predict(x: Tensor, t: int) -> Tensor:
        calls.append(t)
        return x

    def on_step(step: Step, x: Tensor, history: Tensor | None) -> None:
        if step.index == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        denoise(predict, DDIMSolver(ScheduleConfig(), 10), torch.zeros(1, 1, 4, 2, 2), on_step=on_step)
    assert len(calls) == 2
