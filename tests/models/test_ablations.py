"""The rows of the paper's Table 3 that change the network: what each leaves out, and that all else stays."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.config.schema import NetworkConfig, PaperConditionerConfig, QFormerConfig
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.load import build_on_meta
from tests.small import ABLATIONS, PAPER, RELEASED, hierarchy, randomise, sphere

ROWS = pytest.mark.parametrize("row", ABLATIONS)
VERTEX_PART = (
    "conditioner.vertex_net.template",
    "conditioner.vertex_net.sigma",
    "conditioner.vertex_net.encoder.",
)


def network(config: NetworkConfig) -> Network:
    made = Network(config, hierarchy())
    randomise(made)
    return made.eval()


def face(batch: int = 2) -> tuple[Tensor, Tensor]:
    """Tower features and vertices."""
    generator = torch.Generator().manual_seed(3)
    vertices = 0.1 * sphere(162)[0].float() + 0.003 * torch.randn(batch, 162, 3, generator=generator)
    return torch.randn(batch, 65, 32, generator=generator), vertices


def shapes(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in Network(config, hierarchy()).state_dict().items()}


@ROWS
@torch.inference_mode()
def test_tokens_that_are_injected(row: str) -> None:
    config, (features, vertices) = ABLATIONS[row], face()
    net = network(config).conditioner
    assert net.id_tokens(features, vertices).shape == (2, config.num_id_tokens, 32)
    assert net(features, vertices).shape == (3, 2, 2, 2, config.num_id_tokens, 8)


def test_without_face_abstractor() -> None:
    """The abstractor's weights are others, all else is as it was; its tokens have their number and width."""
    full, without = shapes(PAPER), shapes(ABLATIONS["face_abstractor"])
    other = {name for name, shape in full.items() if without.get(name) != shape}
    assert other == {name for name in full if name.startswith("conditioner.abstractor.")}
    assert all(name.startswith("conditioner.abstractor.") for name in without.keys() - full.keys())
    features = face()[0][:, 1:]
    made = [network(config).conditioner.abstractor(features) for config in (PAPER, ABLATIONS["face_abstractor"])]
    assert made[0].shape == made[1].shape == (2, 4, 32)


def test_without_face_vertices() -> None:
    """The mesh's weights do not exist, all else is as it was."""
    full, without = shapes(PAPER), shapes(ABLATIONS["face_vertices"])
    assert without == {name: shape for name, shape in full.items() if not name.startswith(VERTEX_PART)}
    assert all(any(name.startswith(part) for name in full) for part in VERTEX_PART)


def test_without_layer_aware_injection() -> None:
    full, without = shapes(PAPER), shapes(ABLATIONS["layer_aware_injection"])
    assert {name for name in full if name not in without} == {name for name in full if ".layer_aware." in name}
    assert without.keys() - full.keys() == {"dit.injections.shared_out.weight"}


@torch.inference_mode()
def test_two_dimensional_tokens_alone() -> None:
    """Without face vertices: X_f, MLP, fusion, ResConv1D, K and V of all h w tokens, and nothing of the vertices."""
    net = network(ABLATIONS["face_vertices"]).conditioner
    features, vertices = face()
    tokens = net.vertex_net.fusion(net.vertex_net.face_mlp(net.abstractor(features[:, 1:])))
    expected = torch.stack([key_value(net.resconv(tokens)) for key_value in net.key_values])
    for given in (None, vertices, vertices + 1, vertices[:, :100], torch.full((7,), torch.nan)):
        assert torch.equal(net(features, given), expected)
    assert not torch.allclose(net(features.flip(1), None), expected)


@pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
@torch.inference_mode()
def test_full_networks_are_what_they_were(config: NetworkConfig) -> None:
    """Bit for bit the same keys and values as the parts give, one after the other."""
    net, picture = network(config), torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(8))
    vertices, part = face()[1], net.conditioner
    tokens = part.abstractor(net.tower(picture)[:, 1:])
    made = part.resconv(part.vertex_net(tokens, vertices))
    id_tokens = torch.cat([tokens, made], dim=1) if config is RELEASED else made
    expected = torch.stack([key_value(id_tokens) for key_value in part.key_values])
    assert torch.equal(net.id_kv(picture, vertices), expected)


@pytest.mark.parametrize("config", [PAPER, RELEASED, ABLATIONS["face_abstractor"]], ids=["paper", "released", "w/o FA"])
def test_no_vertices_are_refused_by_a_model_that_takes_them(config: NetworkConfig) -> None:
    net = network(config)
    with pytest.raises(ValueError, match=r"^no vertices; expected \[2 or 1, 162, 3\]$"):
        net.conditioner(face()[0], None)
    with pytest.raises(ValueError, match=r"^no vertices; expected \[1 or 1, 162, 3\]$"):
        net.id_kv(torch.zeros(1, 3, 32, 32))


@ROWS
def test_gradient_reaches_everything(row: str) -> None:
    net = network(ABLATIONS[row]).conditioner.train()
    net(*face()).square().mean().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} has no gradient"


@pytest.mark.parametrize("row", ["face_abstractor", "face_vertices"])
@torch.inference_mode()
def test_exports_as_one_graph(row: str) -> None:
    net = network(ABLATIONS[row]).conditioner
    features, vertices = face(1)
    inputs = features, vertices if row == "face_abstractor" else None
    program = torch.export.export(net, inputs)
    torch.testing.assert_close(program.module()(*inputs), net(*inputs))


def test_float32_island_without_vertices() -> None:
    """Fusion keeps float32 weights, as with vertices, so that the row differs in the vertices alone."""
    net = Network(ABLATIONS["face_vertices"], hierarchy()).to_dtype(torch.bfloat16).conditioner
    assert {p.dtype for p in net.vertex_net.parameters()} == {torch.float32}
    assert {p.dtype for p in net.resconv.parameters()} == {torch.bfloat16}
    assert net(face()[0].bfloat16(), None).dtype == torch.bfloat16


def test_at_the_papers_size() -> None:
    """On the meta device: 36 tokens of either abstractor, 314 or 36 injected, and a Q-Former no larger by a tenth."""
    full = NETWORKS["fantasyid-5b-paper"]
    rows = [
        full,
        replace(full, conditioner=PaperConditionerConfig(abstractor=QFormerConfig())),
        replace(full, conditioner=PaperConditionerConfig(face_vertices=False)),
    ]
    tables, sizes = hierarchy(full.mesh), []
    for config in rows:
        made: Conditioner = build_on_meta(config, tables, Path("x")).conditioner
        features, vertices = torch.empty(1, 577, 1024, device="meta"), torch.empty(1, 5023, 3, device="meta")
        assert made.abstractor(features[:, 1:]).shape == (1, 36, 1024)
        if not config.takes_vertices:
            assert made.id_tokens(features, vertices).shape == (1, 36, 3072)
        sizes.append(sum(p.numel() for p in made.abstractor.parameters()))
    assert [config.num_id_tokens for config in rows] == [314, 314, 36]
    assert abs(sizes[1] / sizes[0] - 1) < 0.1
