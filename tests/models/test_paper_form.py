"""The paper's form: its sizes, what reaches what, and that it starts as the plain DiT."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fantasyid_engine.config.presets import NETWORKS
from fantasyid_engine.config.schema import (
    AbstractorConfig,
    NetworkConfig,
)
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.depth import depth_code, read_depth
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.face_abstractor import FaceAbstractor
from fantasyid_engine.models.injection import LayerAware
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.load import build_on_meta
from tests.released_parts import Captures
from tests.small import PAPER, RELEASED, hierarchy, randomise, sphere


@torch.inference_mode()
def test_stages_have_the_papers_shapes() -> None:
    """Section 3 at its numbers: N 5023, N' 314, factor 4, C 1024, C' 128, six fusion layers, four ResConv1D blocks."""
    config = NETWORKS["fantasyid-5b-paper"]
    assert config.dit.injection is not None
    tables = hierarchy(config.mesh)
    conditioner = Conditioner(config.conditioner, config.dit.injection, 2, tables)
    net = conditioner.vertex_net
    assert len(net.fusion) == 6
    assert len(conditioner.resconv.blocks) == 4
    stages = {
        "X_f": conditioner.abstractor,
        "X_F": net.face_mlp,
        "conv0": net.encoder.conv0,
        "pool0": net.encoder.pool0,
        "X'_V": net.encoder,
        "fusion": net.fusion,
        "V_F": conditioner.resconv,
    }
    features, vertices = torch.randn(1, 577, 1024), tables.template[None] * 0.1
    with Captures(**stages) as captured:
        id_kv = conditioner(features, vertices)
    assert {name: tuple(captured[name].shape) for name in stages} == {
        "X_f": (1, 36, 1024),  # h w = 6 x 6 from 24 x 24: factor 4
        "X_F": (1, 36, 128),
        "conv0": (1, 5023, 128),
        "pool0": (1, 1256, 128),
        "X'_V": (1, 314, 128),
        "fusion": (1, 314 + 36, 128),
        "V_F": (1, 314, 3072),
    }
    assert id_kv.shape == (2, 2, 1, 16, 314, 128)


def test_parameters_at_5b() -> None:
    """The whole network on the meta device: no memory, and every injection has its own F_l."""
    config = NETWORKS["fantasyid-5b-paper"]
    network = build_on_meta(config, hierarchy(config.mesh), Path("x"))
    assert config.num_id_tokens == 314
    layers = [m for m in network.dit.modules() if isinstance(m, LayerAware)]
    assert len(layers) == 42
    assert len({id(p) for layer in layers for p in layer.parameters()}) == 42 * 4
    per_layer = sum(p.numel() for p in layers[0].parameters())
    assert per_layer == 2048 * 3072 + 9 * 3072 + 2 * 3072


def network(form: str = "layer_aware", seed: int = 0) -> Network:
    config = PAPER
    if form != "layer_aware":
        assert config.dit.injection is not None
        config = replace(config, dit=replace(config.dit, injection=replace(config.dit.injection, form=form)))
    made = Network(config, hierarchy())
    zero_at_start = {name: p.clone() for name, p in made.dit.injections.named_parameters() if not p.any()}
    randomise(made, seed)
    for name, value in zero_at_start.items():
        made.dit.injections.get_parameter(name).data.copy_(value)
    return made


def inputs(batch: int = 1) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tower features, vertices, latents, text."""
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    vertices = 0.1 * sphere(162)[0].float()[None] + 0.003 * draw(1, 162, 3)
    return draw(1, 65, 32), vertices, draw(batch, 3, 4, 12, 8), draw(1, 6, 24)


def run(net: Network, features: Tensor, vertices: Tensor, latents: Tensor, text: Tensor) -> Tensor:
    id_kv = net.conditioner(features, vertices)
    timestep = torch.full((len(latents),), 500)
    return net.dit(latents, timestep, net.dit.embed(text, *latents.shape[1:2], *latents.shape[3:]), id_kv)


@pytest.mark.parametrize("form", ["layer_aware", "shared"])
@torch.inference_mode()
def test_starts_as_the_plain_dit(form: str) -> None:
    """At initialisation the DiT with injection equals the DiT without, exactly."""
    net = network(form)
    features, vertices, latents, text = inputs(batch=2)
    plain = DiT(replace(net.config.dit, injection=None))
    plain.load_state_dict({k: v for k, v in net.dit.state_dict().items() if not k.startswith("injections.")})
    timestep = torch.tensor([500, 500])
    expected = plain(latents, timestep, plain.embed(text, 3, 12, 8))
    assert torch.equal(run(net, features, vertices, latents, text), expected)


def wake(net: Network) -> None:
    """F_l is no longer zero, as after the first steps of training."""
    generator = torch.Generator().manual_seed(9)
    for module in net.dit.modules():
        if isinstance(module, LayerAware):
            module.norm.weight.data = 0.3 * torch.randn(module.norm.weight.shape, generator=generator)


def test_gradient_reaches_everything() -> None:
    """x, y and z of the vertices, every F_l, the abstractor, and every other weight of conditioner and injection."""
    net = network()
    wake(net)
    features, vertices, latents, text = inputs()
    vertices.requires_grad_()
    (run(net, features, vertices, latents, text) ** 2).mean().backward()
    assert vertices.grad is not None
    for axis, name in enumerate("xyz"):
        assert (vertices.grad[..., axis].abs() > 0).float().mean() > 0.5, f"{name} of most vertices has no gradient"
    for part in (net.conditioner, net.dit.injections):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, f"{name} has no gradient"


def test_first_step_of_training_moves_the_gains() -> None:
    """F_l starts at zero, and still learns: its norm's gain and bias have gradients at initialisation."""
    net = network()
    (run(net, *inputs()) ** 2).mean().backward()
    for module in net.dit.modules():
        if isinstance(module, LayerAware):
            for parameter in (module.norm.weight, module.norm.bias):
                assert parameter.grad is not None and parameter.grad.abs().max() > 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@torch.inference_mode()
def test_moving_vertices_moves_the_output(axis: int) -> None:
    net = network()
    features, vertices, latents, text = inputs()
    moved = vertices.clone()
    moved[:, ::3, axis] += 0.01
    still = run(net, features, vertices, latents, text)
    assert torch.equal(still, run(net, features, moved, latents, text))  # while F_l is zero
    wake(net)
    awake = run(net, features, vertices, latents, text)
    assert not torch.equal(still, awake)
    assert (run(net, features, moved, latents, text) - awake).abs().max() > 1e-5


@torch.inference_mode()
def test_every_face_matters_and_identity_of_batch_one_broadcasts() -> None:
    net = network()
    wake(net)
    features, vertices, latents, text = inputs(batch=3)
    output = run(net, features, vertices, latents, text)
    assert not torch.allclose(output, run(net, features.flip(1), vertices, latents, text))
    for i in range(3):
        torch.testing.assert_close(output[i : i + 1], run(net, features, vertices, latents[i : i + 1], text))


@torch.inference_mode()
def test_vertices_are_seen_relative_to_the_template() -> None:
    """(V_s - template) / sigma: scaling the offsets and sigma together changes nothing in the encoder's input."""
    net = network().conditioner.vertex_net
    net.template.copy_(0.1 * sphere(162)[0])
    offsets = 0.001 * torch.randn(1, 162, 3)
    seen = []
    net.encoder.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    face = torch.randn(1, 4, 32)
    net.sigma.fill_(0.001)
    net(face, net.template + offsets)
    net.sigma.fill_(0.002)
    net(face, net.template + 2 * offsets)
    torch.testing.assert_close(seen[0], offsets / 0.001, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-3, atol=1e-4)


class TestDepth:
    """E_dep's depth map."""

    def test_sphere_seen_from_the_front(self) -> None:
        """The front half reads its own depth; the back half reads the front surface before it."""
        points, faces = sphere(2000)
        at = torch.arange(2000)
        depth = read_depth(points[None], faces, at)[0]
        own, before = (1 - points[:, 2]) / 2, (1 - points[:, 2].abs()) / 2
        rim = points[:, 2].abs() < 0.2
        torch.testing.assert_close(depth[~rim], before[~rim], rtol=0, atol=5e-3)
        front = points[:, 2] > 0.2
        torch.testing.assert_close(depth[front], own[front], rtol=0, atol=2e-3)
        assert depth.min() >= 0 and depth.max() <= 1

    def test_against_a_raster(self) -> None:
        """Equals a z-buffer that walks over all triangles for each place, on a lumpy mesh."""
        points, faces = sphere(120)
        points = points * (1 + 0.3 * torch.sin(5 * points[:, :1]))
        at = torch.arange(0, 120, 7)
        depth = read_depth(points[None], faces, at)[0]
        near, far = points[:, 2].max(), points[:, 2].min()
        for i, vertex in enumerate(at.tolist()):
            best = points[vertex, 2].item()
            for face in faces.tolist():
                triangle = torch.cat([points[face][:, :2].T, torch.ones(1, 3, dtype=torch.float64)])
                if abs(torch.linalg.det(triangle)) < 1e-12:
                    continue
                place = torch.cat([points[vertex, :2], torch.ones(1, dtype=torch.float64)])
                weights = torch.linalg.solve(triangle, place)
                if (weights >= -1e-12).all():
                    best = max(best, float(weights @ points[face][:, 2]))
            assert depth[i] == pytest.approx(float((near - best) / (near - far)), abs=1e-9)

    def test_scale_and_place_do_not_matter(self) -> None:
        points, faces = sphere(162)
        at = torch.arange(0, 162, 5)
        expected = read_depth(points[None], faces, at)
        torch.testing.assert_close(read_depth(7 * points[None] + 3, faces, at), expected)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_edges_do_not_leak(self, dtype: torch.dtype) -> None:
        """A place on the edge between two triangles is under both, whatever rounding says."""
        generator = torch.Generator().manual_seed(0)
        a, b, share = (torch.rand(500, *n, generator=generator, dtype=dtype) for n in ((2,), (2,), (1,)))
        for left, right, part in zip(a, b, share, strict=True):
            normal = torch.stack([left[1] - right[1], right[0] - left[0]])
            place = left + part * (right - left)
            flat = torch.stack([left, right, place + normal, place - normal, place])
            points = torch.cat([flat, torch.tensor([[1.0]] * 4 + [[0.0]], dtype=dtype)], dim=1)
            depth = read_depth(points[None], torch.tensor([[0, 1, 2], [1, 0, 3]]), torch.tensor([4]))
            assert depth.item() == pytest.approx(0, abs=1e-4)

    @pytest.mark.parametrize("scale", [1e-6, 1.0, 1e3])
    def test_any_scale(self, scale: float) -> None:
        points, faces = sphere(362)
        at = torch.arange(362)
        expected = read_depth(points[None], faces, at)
        torch.testing.assert_close(read_depth(scale * points[None], faces, at), expected, rtol=0, atol=1e-6)

    def test_gradient_of_depth(self) -> None:
        points, faces = sphere(42)
        at = torch.arange(0, 42, 3)
        base = points[None].requires_grad_()
        assert torch.autograd.gradcheck(
            lambda z: read_depth(torch.cat([base[..., :2].detach(), z], -1), faces, at),
            points[None, :, 2:].requires_grad_(),
        )

    def test_flat_mesh_has_no_depth(self) -> None:
        points, faces = sphere(42)
        points[:, 2] = 1
        depth = read_depth(points[None], faces, torch.arange(42))
        torch.testing.assert_close(depth, torch.zeros_like(depth), rtol=0, atol=1e-5)

    def test_code_tells_depths_apart(self) -> None:
        code = depth_code(torch.linspace(0, 1, 400)[None], 16, 8.0)[0]
        distance = torch.cdist(code, code) + 9 * torch.eye(400)
        assert code.shape == (400, 16)
        assert distance.min() > 0.1
        assert code.abs().max() <= 1


def test_networks_of_one_hierarchy_share_no_weights() -> None:
    """The template is a weight: loading another into one network changes neither the hierarchy nor other networks."""
    tables = hierarchy()
    one, other = Network(PAPER, tables), Network(PAPER, tables)
    before = tables.template.clone()
    one.conditioner.vertex_net.template.add_(1)
    assert torch.equal(tables.template, before)
    assert torch.equal(other.conditioner.vertex_net.template, before)


@pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
@pytest.mark.parametrize("shape", [(1, 163, 3), (1, 100, 3), (1, 1, 3), (1, 162, 4), (3, 162, 3), (162, 3)])
def test_vertices_of_another_mesh_are_refused(config: NetworkConfig, shape: tuple[int, ...]) -> None:
    net = Network(config, hierarchy())
    with pytest.raises(ValueError, match=r"vertices of shape \(.+\); expected \[2 or 1, 162, 3\]"):
        net.conditioner(torch.zeros(2, 65, 32), torch.zeros(shape))


@pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
@torch.inference_mode()
def test_vertex_net_is_float32_under_autocast(config: NetworkConfig) -> None:
    net = Network(config, hierarchy())
    randomise(net)
    seen: list[Tensor] = []
    net.conditioner.vertex_net.register_forward_hook(lambda module, args, output: seen.append(output))
    features, vertices, *_ = inputs()
    face = net.conditioner.abstractor(features[:, 1:])
    plain = net.conditioner.vertex_features(face, vertices)
    with torch.autocast("cpu", torch.bfloat16):
        net.conditioner.vertex_features(face, vertices)
    assert torch.equal(seen[1], plain)


@torch.inference_mode()
def test_small_released_form() -> None:
    """At small widths: token count, guidance batch 2 on identity batch 1, z matters and x and y do not."""
    net = Network(RELEASED, hierarchy())
    randomise(net)
    features, vertices, _, text = inputs()
    assert net.conditioner.id_tokens(features, vertices).shape == (1, RELEASED.num_id_tokens, 32)
    id_kv = net.conditioner(features, vertices)
    for axis, matters in ((0, False), (1, False), (2, True)):
        moved = vertices.clone()
        moved[..., axis] += 0.01 * torch.randn(162, generator=torch.Generator().manual_seed(axis))
        assert torch.equal(net.conditioner(features, moved), id_kv) != matters

    generator = torch.Generator().manual_seed(7)
    latents, image = (torch.randn(1, 3, 4, 12, 8, generator=generator) for _ in range(2))
    both = net.dit.embed(torch.cat([text.flip(2), text]), 3, 12, 8, image)
    guided = net.dit(latents.expand(2, -1, -1, -1, -1), torch.tensor([9, 9]), both, id_kv)
    alone = net.dit(latents, torch.tensor([9]), net.dit.embed(text, 3, 12, 8, image), id_kv)
    torch.testing.assert_close(guided[1:], alone)
    assert not torch.allclose(guided[:1], alone)
    assert not torch.allclose(net.dit(latents, torch.tensor([9]), net.dit.embed(text, 3, 12, 8, image)), alone)


def test_abstractor_keeps_places() -> None:
    """Face tokens are a map: a change in one corner of the picture moves the tokens of that corner alone."""
    torch.manual_seed(0)
    abstractor = FaceAbstractor(AbstractorConfig(in_dim=32, grid=16, hidden_dim=16, num_position_tables=1, depth=1))
    tokens = torch.randn(1, 256, 32)
    changed = tokens.clone()
    changed.view(1, 16, 16, 32)[:, :3, :3] += 1
    with torch.inference_mode():
        moved = (abstractor(changed) - abstractor(tokens)).norm(dim=-1).view(4, 4)
    assert moved[:2, :2].min() > 10 * max(moved[2:].max(), moved[:, 2:].max())
