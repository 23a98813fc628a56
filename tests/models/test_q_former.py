"""The Q-Former against a plain float64 reading, and that tokens lose their places in it, as the ablation wants."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.schema import AbstractorConfig, QFormerConfig
from fantasyid_engine.models.face_abstractor import FaceAbstractor
from fantasyid_engine.models.q_former import QFormer
from tests.goldens import relative_l2
from tests.models.test_paper_reference import attention, gelu, layer_norm, split
from tests.small import Q_FORMER, randomise

CONFIGS = [
    pytest.param(Q_FORMER, 64, id="small"),
    pytest.param(QFormerConfig(in_dim=12, num_queries=5, hidden_dim=18, depth=1, num_heads=3), 7, id="odd sizes"),
    pytest.param(replace(Q_FORMER, num_queries=1, num_heads=1, depth=3, norm_eps=0.1), 9, id="one query"),
]


def q_former(config: QFormerConfig) -> QFormer:
    made = QFormer(config)
    randomise(made)
    return made


def patches(count: int, dim: int, batch: int = 1) -> Tensor:
    return torch.randn(batch, count, dim, generator=torch.Generator().manual_seed(2))


def reference(net: QFormer, config: QFormerConfig, tokens: Tensor) -> Tensor:
    """Patch tokens [M, in_dim] of one picture -> [T, in_dim], float64."""
    w, eps = {name: value.double() for name, value in net.state_dict().items()}, config.norm_eps

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))

    def norm(x: Tensor, name: str) -> Tensor:
        return layer_norm(x, w[f"{name}.weight"], w[f"{name}.bias"], eps)

    def heads(x: Tensor, parts: int) -> list[Tensor]:
        return [split(part, config.num_heads) for part in x.chunk(parts, dim=-1)]

    t = norm(linear(tokens.double(), "proj_in"), "tokens_norm")
    x = w["queries"][0]
    for i in range(config.depth):
        name = f"layers.{i}."
        x = x + linear(attention(*heads(linear(norm(x, name + "self_norm"), name + "to_qkv"), 3)), name + "self_out")
        q, (k, v) = linear(norm(x, name + "cross_norm"), name + "to_q"), heads(linear(t, name + "to_kv"), 2)
        x = x + linear(attention(split(q, config.num_heads), k, v), name + "cross_out")
        x = x + linear(gelu(linear(norm(x, name + "mlp_norm"), name + "mlp.0")), name + "mlp.2")
    return linear(norm(x, "norm"), "proj_out")


@pytest.mark.parametrize(("config", "count"), CONFIGS)
@torch.inference_mode()
def test_matches_the_reference(config: QFormerConfig, count: int) -> None:
    net, tokens = q_former(config), patches(count, config.in_dim, batch=2)
    made = net(tokens)
    assert made.shape == (2, config.num_queries, config.in_dim)
    for one, of in zip(made, tokens, strict=True):
        assert relative_l2(one, reference(net, config, of)) < 2e-6


@torch.inference_mode()
def test_places_are_lost() -> None:
    """The same patches in another order give the same tokens; the face abstractor tells the difference."""
    tokens, order = patches(64, 32), torch.randperm(64, generator=torch.Generator().manual_seed(0))
    net, abstractor = q_former(Q_FORMER), FaceAbstractor(AbstractorConfig(in_dim=32, grid=8, hidden_dim=16))
    randomise(abstractor)
    torch.testing.assert_close(net(tokens[:, order]), net(tokens), rtol=0, atol=1e-5)
    assert (abstractor(tokens[:, order]) - abstractor(tokens)).abs().max() > 0.01


@torch.inference_mode()
def test_every_patch_matters() -> None:
    net, tokens = q_former(Q_FORMER), patches(64, 32)
    still = net(tokens)
    for i in range(0, 64, 9):
        moved = tokens.clone()
        moved[:, i] += 1
        assert (net(moved) - still).abs().max() > 1e-5


@torch.inference_mode()
def test_queries_differ_from_the_start() -> None:
    """Equal queries would give equal tokens and equal gradients for ever."""
    torch.manual_seed(0)
    net, tokens = QFormer(Q_FORMER), patches(64, 32)
    made = net(tokens)[0]
    assert torch.pdist(made).min() > 0.1 * made.norm(dim=1).mean()


def test_gradient_reaches_everything() -> None:
    net, tokens = q_former(Q_FORMER), patches(64, 32).requires_grad_()
    net(tokens).square().mean().backward()
    assert tokens.grad is not None and tokens.grad.abs().amax(-1).min() > 0
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} has no gradient"
