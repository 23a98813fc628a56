"""Dropping a sample's 2-D face tokens: nothing of the picture is left, the mesh is, and other samples do not notice."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.network import Network
from tests.models.test_ablations import face
from tests.small import ABLATIONS, PAPER, RELEASED, hierarchy, randomise

CONFIGS = {"paper": PAPER, "released": RELEASED} | ABLATIONS
ALL = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
MESH = pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])


def conditioner(config: NetworkConfig) -> Conditioner:
    network = Network(config, hierarchy())
    randomise(network)
    return network.conditioner.eval()


@ALL
@pytest.mark.parametrize("keep", [torch.tensor([True, True]), torch.ones(2)], ids=["bool", "float"])
@torch.inference_mode()
def test_keeping_all_changes_nothing(config: NetworkConfig, keep: Tensor) -> None:
    net, (features, vertices) = conditioner(config), face()
    assert torch.equal(net(features, vertices, keep), net(features, vertices))


@ALL
@pytest.mark.parametrize("keep", [torch.tensor([True, False]), torch.tensor([1.0, 0.0])], ids=["bool", "float"])
@torch.inference_mode()
def test_a_dropped_sample_does_not_see_the_picture(config: NetworkConfig, keep: Tensor) -> None:
    """Whatever the features are, also no numbers; the sample that is kept is as it was."""
    net, (features, vertices) = conditioner(config), face()
    still, dropped = net.id_tokens(features, vertices), net.id_tokens(features, vertices, keep)
    torch.testing.assert_close(dropped[0], still[0])
    assert not torch.allclose(dropped[1], still[1], atol=1e-3)
    other = features.clone()
    other[1] = torch.nan
    assert torch.equal(net.id_tokens(other, vertices, keep), dropped)


@MESH
@torch.inference_mode()
def test_face_tokens_are_zero_and_vertices_are_not(config: NetworkConfig) -> None:
    net, (features, vertices) = conditioner(config), face()
    none = torch.tensor([False, False])
    nothing = torch.zeros_like(net.abstractor(features[:, 1:]))
    expected = net.resconv(net.vertex_features(nothing, vertices))
    if config is RELEASED:
        expected = torch.cat([nothing, expected], dim=1)
    made = net.id_tokens(features, vertices, none)
    assert torch.equal(made, expected)
    assert not torch.allclose(net.id_tokens(features, vertices.roll(9, 1), none), made, atol=1e-3)


def test_gradient_goes_where_the_face_was_kept() -> None:
    net, (features, vertices) = conditioner(PAPER), face()
    features.requires_grad_()
    vertices.requires_grad_()
    net(features, vertices, torch.tensor([False, True])).square().mean().backward()
    assert features.grad is not None and vertices.grad is not None
    assert not features.grad[0].any() and features.grad[1, 1:].abs().amax(-1).min() > 0
    assert vertices.grad.abs().amax((1, 2)).min() > 0


def test_every_weight_has_a_gradient_where_all_are_dropped() -> None:
    """Zero, but there: processes that share gradients wait for every weight's."""
    net, (features, vertices) = conditioner(PAPER), face()
    net(features, vertices, torch.tensor([False, False])).square().mean().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1), ()], ids=str)
def test_mask_of_another_batch(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a mask of shape \(.*\); expected \[2\]"):
        conditioner(PAPER)(*face(), torch.ones(shape))
