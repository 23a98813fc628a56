"""The shape regressor: numbers off the tower, vertices of numbers, and a network that needs no vertices with it."""

import math
from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.schema import NetworkConfig, ShapeConfig
from fantasyid_engine.models.network import Network, weight_dtype
from fantasyid_engine.models.shape import ShapeRegressor
from tests.goldens import relative_l2
from tests.models.test_paper_reference import gelu, layer_norm
from tests.small import ABLATIONS, PAPER, READS_SHAPE, TOWER, hierarchy, randomise, reads_shape, sphere

KEYS = {"mean", "basis"} | {f"{m}.{k}" for m in ("norm", "token", "hidden", "out") for k in ("weight", "bias")}


def regressor() -> ShapeRegressor:
    made = reads_shape().shape
    assert made is not None
    return made


def features(batch: int = 2) -> Tensor:
    return torch.randn(batch, 65, 32, generator=torch.Generator().manual_seed(1))


def picture(batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(4))


@torch.inference_mode()
def test_coefficients_match_a_float64_reading() -> None:
    net, x = regressor(), features()
    w = {name: value.double() for name, value in net.state_dict().items()}
    made = net(x)
    assert made.shape == (2, 3)
    for one, tokens in zip(made, x.double(), strict=True):
        read = [w["token.weight"] @ layer_norm(token, w["norm.weight"], w["norm.bias"]) for token in tokens[1:]]
        h = torch.cat([token + w["token.bias"] for token in read])
        h = gelu(w["hidden.weight"] @ h + w["hidden.bias"])
        assert relative_l2(one, w["out.weight"] @ h + w["out.bias"]) < 2e-6


@torch.inference_mode()
def test_vertices_match_a_float64_reading() -> None:
    net, coefficients = regressor(), torch.tensor([[0.0, 0.0, 0.0], [1.5, -2.0, 0.3]])
    made = net.vertices(coefficients)
    assert made.shape == (2, 162, 3) and made.dtype == torch.float32
    assert torch.equal(made[0], net.mean)
    for one, numbers in zip(made, coefficients.double(), strict=True):
        expected = net.mean.double()
        for number, direction in zip(numbers, net.basis.double(), strict=True):
            expected = expected + number * direction
        torch.testing.assert_close(one.double(), expected, rtol=0, atol=2e-8)


@torch.inference_mode()
def test_vertices_are_float32_under_autocast_and_of_half_precision() -> None:
    """A basis in bfloat16 would be off by tens of micrometres."""
    net, coefficients = regressor(), torch.tensor([[1.5, -2.0, 0.5]])
    expected = net.vertices(coefficients)
    with torch.autocast("cpu", torch.bfloat16):
        assert net(features()).dtype == torch.bfloat16
        assert torch.equal(net.vertices(coefficients.bfloat16()), expected)
    assert torch.equal(net.vertices(coefficients.half()), expected)
    assert (net.mean.bfloat16().float() - net.mean).abs().max() > 1e-4


def test_a_new_one_knows_the_template_alone() -> None:
    tables = hierarchy()
    net = ShapeRegressor(ShapeConfig(names=("a", "b")), TOWER, tables)
    assert torch.equal(net.vertices(torch.randn(4, 2)), tables.template.expand(4, -1, -1))
    net.mean.add_(1)
    assert torch.equal(tables.template, hierarchy().template), "the hierarchy's own template is another tensor"


def test_what_is_stored() -> None:
    state, plain = Network(READS_SHAPE, hierarchy()).state_dict(), Network(PAPER, hierarchy()).state_dict()
    assert state.keys() - plain.keys() == {f"shape.{key}" for key in KEYS}
    assert plain.keys() <= state.keys()
    assert tuple(state["shape.mean"].shape) == (162, 3) and tuple(state["shape.basis"].shape) == (3, 162, 3)
    assert Network(PAPER, hierarchy()).shape is None


def test_the_rest_is_drawn_as_without_it() -> None:
    made = []
    for config in (PAPER, READS_SHAPE):
        torch.manual_seed(6)
        made.append(Network(config, hierarchy()).state_dict())
    assert all(torch.equal(made[1][name], value) for name, value in made[0].items())


def test_what_stays_float32() -> None:
    net = reads_shape().to_dtype(torch.bfloat16)
    assert net.shape is not None
    for name, value in net.shape.state_dict().items():
        wide = name in ("mean", "basis")
        assert value.dtype == (torch.float32 if wide else torch.bfloat16), name
        assert weight_dtype(f"shape.{name}", torch.bfloat16) == value.dtype
    assert torch.equal(net.shape.basis, regressor().basis)
    assert net.id_kv(picture().bfloat16()).dtype == torch.bfloat16


@torch.inference_mode()
def test_a_network_reads_vertices_off_the_picture() -> None:
    """The tower runs once; vertices that are given count, and the picture's are not those of the template."""
    net = reads_shape()
    assert net.shape is not None
    runs = []
    net.tower.register_forward_hook(lambda module, args, output: runs.append(output))
    made = net.id_kv(picture(2))
    assert len(runs) == 1
    coefficients = net.shape(runs[0])
    assert coefficients.abs().max() > 0.1
    assert torch.equal(made, net.conditioner(runs[0], net.shape.vertices(coefficients)))
    given = 0.1 * sphere(162)[0].float()[None]
    assert torch.equal(net.id_kv(picture(2), given), net.conditioner(runs[0], given))
    assert not torch.allclose(net.id_kv(picture(2), given), made)
    assert not torch.allclose(net.id_kv(picture(2), net.shape.mean[None]), made)


CHANGE = torch.tensor([[1.5, -2.0, 0.5]])


def entered(net: Network, *arguments: Tensor | None) -> tuple[Tensor, Tensor]:
    """Tower features and vertices that the conditioner gets."""
    seen, real = [], net.conditioner.id_tokens

    def spy(features: Tensor, vertices: Tensor) -> Tensor:
        seen.append((features, vertices))
        return real(features, vertices)

    with patch.object(net.conditioner, "id_tokens", spy):
        net.id_kv(*arguments)
    return seen[0]


@torch.inference_mode()
def test_a_change_of_shape_is_added_to_the_coefficients() -> None:
    """One change for all pictures of a batch, or one each."""
    net = reads_shape()
    assert net.shape is not None
    for change in (CHANGE, torch.cat([CHANGE, -CHANGE])):
        features, vertices = entered(net, picture(2), None, change)
        torch.testing.assert_close(vertices, net.shape.vertices(net.shape(features) + change), rtol=0, atol=5e-8)
        made = net.id_kv(picture(2), None, change)
        assert torch.equal(made, net.conditioner(features, vertices))
        assert not torch.allclose(made, net.id_kv(picture(2)))


@torch.inference_mode()
def test_a_change_of_shape_moves_given_vertices() -> None:
    net, given = reads_shape(), 0.1 * sphere(162)[0].float()[None]
    assert net.shape is not None
    _, vertices = entered(net, picture(), given, CHANGE)
    expected = given.double()[0]
    for number, direction in zip(CHANGE[0].double(), net.shape.basis.double(), strict=True):
        expected = expected + number * direction
    torch.testing.assert_close(vertices[0].double(), expected, rtol=0, atol=2e-8)


@torch.inference_mode()
def test_a_change_of_shape_is_float32_in_half_precision() -> None:
    """The coefficients are bfloat16; what is added to them moves vertices as it does in float32."""
    net = reads_shape().to_dtype(torch.bfloat16)
    assert net.shape is not None
    change = torch.tensor([[1.003, 0.0, -2.007]])
    _, vertices = entered(net, picture().bfloat16(), None, change)
    _, before = entered(net, picture().bfloat16())
    assert vertices.dtype == torch.float32
    torch.testing.assert_close(vertices - before, regressor().displacement(change), rtol=0, atol=5e-8)


@pytest.mark.parametrize(
    "config",
    [PAPER, ABLATIONS["face_vertices"], replace(ABLATIONS["face_vertices"], shape=READS_SHAPE.shape)],
    ids=["no regressor", "no vertices", "regressor without vertices"],
)
@pytest.mark.parametrize("given", [True, False])
def test_a_network_whose_shape_cannot_be_changed(config: NetworkConfig, given: bool) -> None:
    vertices = 0.1 * hierarchy().template[None] if given else None
    with pytest.raises(ValueError, match=r"^a change of shape; this network"):
        Network(config, hierarchy()).id_kv(picture(), vertices, CHANGE)


def test_gradient_reaches_the_regressor_through_the_vertices() -> None:
    net = reads_shape()
    assert net.shape is not None
    net.id_kv(picture()).square().mean().backward()
    for name, parameter in net.shape.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} has no gradient"


@pytest.mark.parametrize("name", ["shape.mean", "shape.basis"])
def test_basis_is_no_parameter(name: str) -> None:
    net = reads_shape()
    assert name in dict(net.named_buffers()) and name not in dict(net.named_parameters())


@torch.inference_mode()
def test_exports_as_one_graph() -> None:
    """Picture to vertices."""

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shape = regressor()

        def forward(self, x: Tensor) -> Tensor:
            return self.shape.vertices(self.shape(x))

    program = torch.export.export(Reader(), (features(1),))
    torch.testing.assert_close(program.module()(features(1)), Reader()(features(1)))


def test_learns_from_pictures() -> None:
    """A few steps of descent bring coefficients of four samples near what they should be."""
    torch.manual_seed(0)
    net = ShapeRegressor(READS_SHAPE.shape or ShapeConfig(names=("a",)), TOWER, hierarchy())
    randomise(net)
    wanted = torch.randn(4, 3)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.005)
    for _ in range(150):
        loss = (net(features(4)) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert math.sqrt(loss.item()) < 0.05
