"""Updates: what they compute, when they are refused, and their whole state."""

from dataclasses import replace

import pytest
import torch

from fantasyid_engine.errors import ConfigError, TrainingStopped
from fantasyid_engine.training.learner import Learner, recomputing
from fantasyid_engine.training.parallel import open_accelerator
from fantasyid_engine.training.recipe import OptimiserConfig
from fantasyid_engine.training.tasks.diffusion import DiffusionTask
from tests.training.cases import CONSTANT, Line, stage, tiny_model, with_latents

ACCELERATOR = open_accelerator(cpu=True)


def learner(**changes: object) -> Learner:
    values = {"trainable": ("line.*",), "optimiser": CONSTANT, "steps": 1000} | changes
    return Learner(Line(), stage("text", **values), ACCELERATOR)


def batch(seed: int, count: int = 8) -> dict[str, torch.Tensor]:
    return {"x": torch.randn(count, 3, generator=torch.Generator().manual_seed(seed))}


def test_micro_batches_give_what_the_whole_batch_gives() -> None:
    whole, parts = learner(), learner()
    for step in range(3):
        x = batch(step)["x"]
        one = whole.update([{"x": x}])
        other = parts.update([{"x": x[:5]}, {"x": x[5:]}])
        assert one == pytest.approx(other, rel=1e-5)
    torch.testing.assert_close(whole.parameters["line.weight"], parts.parameters["line.weight"], rtol=1e-5, atol=1e-6)


def test_weights_that_are_not_named_stay() -> None:
    made = learner()
    before = made.task.idle.weight.clone()
    made.update([batch(0)])
    assert torch.equal(made.task.idle.weight, before) and not made.task.idle.weight.requires_grad


def test_a_weight_that_the_loss_does_not_reach_is_told_of() -> None:
    with pytest.raises(ConfigError, match=r"does not reach 2 trainable parameters, idle.weight, idle.bias; take them"):
        learner(trainable=("*",)).update([batch(0)])


def test_gradients_are_clipped() -> None:
    optimiser = OptimiserConfig(lr=1e-3, schedule="constant", warmup_steps=0, clip_norm=1e-9, eps=1.0)
    made = learner(optimiser=optimiser)
    before = made.parameters["line.weight"].detach().clone()
    assert made.update([batch(0)])["grad_norm"] > 0.1
    torch.testing.assert_close(made.parameters["line.weight"].detach(), before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_number_stops_and_leaves_the_weights(value: float) -> None:
    made = learner()
    made.update([batch(0)])
    before = made.state()
    broken = batch(1)
    broken["x"][0, 0] = value
    with pytest.raises(TrainingStopped, match=r"the loss is (nan|inf), the gradient's norm nan"):
        made.update([broken])
    after = made.state()
    assert after.facts == before.facts
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in before.weights)
    assert all(torch.equal(after.optimiser[name], before.optimiser[name]) for name in before.optimiser)


def test_a_spike_stops() -> None:
    made = learner(optimiser=replace(CONSTANT, lr=1e-9), spike_factor=10.0)
    for step in range(30):
        made.update([batch(step)])
    with pytest.raises(TrainingStopped, match=r"times the median of the last 30"):
        made.update([{"x": 20 * batch(99)["x"]}])
    assert made.step == 30
    made.update([batch(31)])
    assert made.step == 31


def test_the_average_follows_and_takes_the_place() -> None:
    made = learner(optimiser=replace(CONSTANT, lr=0.1))
    expected = made.parameters["line.weight"].detach().clone()
    for step in range(12):
        made.update([batch(step)])
        decay = min(0.9, (2 + step) / (11 + step))
        expected = decay * expected + (1 - decay) * made.parameters["line.weight"].detach()
    raw = made.parameters["line.weight"].detach().clone()
    with made.averaged():
        torch.testing.assert_close(made.parameters["line.weight"].detach(), expected)
    assert torch.equal(made.parameters["line.weight"].detach(), raw)
    assert not torch.allclose(raw, expected)


def test_a_restored_learner_goes_on_bit_for_bit() -> None:
    optimiser = OptimiserConfig(lr=1e-2, schedule="cosine", warmup_steps=3, ema_decay=0.9)
    straight, first, second = (learner(optimiser=optimiser, steps=20) for _ in range(3))
    for step in range(20):
        straight.update([batch(step)])
    for step in range(10):
        first.update([batch(step)])
    second.restore(first.state())
    assert second.rates == first.rates
    for step in range(10, 20):
        second.update([batch(step)])
    one, other = straight.state(), second.state()
    assert one.facts == other.facts
    for kind in ("weights", "average", "optimiser"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        assert mine.keys() == theirs.keys() and len(mine) > 0
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_recomputing_gives_the_same_gradients_and_keeps_less() -> None:
    task = DiffusionTask(tiny_model(), stage("identity"), views=3, cached_text=False)  # pyright: ignore[reportArgumentType]
    generators = [torch.Generator().manual_seed(i) for i in range(2)]
    one = task.batch(with_latents()[:2], generators, 0)
    kept, gradients = [], []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[-1] += tensor.nbytes
        return tensor

    def gradient() -> torch.Tensor:
        kept.append(0)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = task(one)["loss"]
        weight = task.dit.blocks[0].attn.to_q.weight
        task.requires_grad_(True)
        (found,) = torch.autograd.grad(loss, weight)
        return found

    task.requires_grad_(True)
    gradients.append(gradient())
    with recomputing(task):
        gradients.append(gradient())
    gradients.append(gradient())
    torch.testing.assert_close(gradients[1], gradients[0])
    assert torch.equal(gradients[2], gradients[0])
    assert kept[1] < 0.6 * kept[0] and kept[2] == kept[0]
