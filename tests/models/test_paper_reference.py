"""The paper's form against a plain float64 reading of sections 3.3 to 3.5, and readings of it that would be wrong.

The reference shares the face abstractor and ResConv1D with the engine: the goldens of the released form hold those.
Everything else is written out here, with loops, from the state dict.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from fantasyid_engine.models import injection, vertex_net
from fantasyid_engine.models.fusion import FusionTransformer
from fantasyid_engine.models.injection import Injections, LayerAware, LayerAwareLayer
from fantasyid_engine.models.network import Network
from tests.goldens import relative_l2
from tests.small import PAPER, hierarchy, randomise, sphere

GRID = (3, 6, 4)
TOLERANCE = 1e-5


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[heads, N, d], [heads, K, d] -> [N, heads * d]."""
    weights = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(q.shape[-1]), dim=-1)
    return torch.cat([*(weights @ v)], dim=-1)


def split(x: Tensor, heads: int) -> Tensor:
    return torch.stack(x.chunk(heads, dim=-1))


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def elu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, x.exp() - 1)


def reference_id_kv(net: Network, features: Tensor, vertices: Tensor) -> Tensor:
    """[I, 2, heads, K, d] of one face, float64."""
    tables, config = hierarchy(), PAPER.conditioner
    w = {name: value.double() for name, value in net.conditioner.state_dict().items()}
    points = vertices[0].double()

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))

    def spiral_conv(x: Tensor, spirals: Tensor, name: str) -> Tensor:
        return torch.stack([linear(torch.cat([x[v] for v in row]), f"{name}.linear") for row in spirals.tolist()])

    net_name = "vertex_net."
    x = (points - w[net_name + "template"]) / w[net_name + "sigma"]
    for level in (0, 1):
        x = elu(spiral_conv(x, tables.spirals[level], f"{net_name}encoder.conv{level}"))
        x = x[tables.down[level].index[:, 0].long()]
    vertex_tokens = linear(x, net_name + "encoder.linear")

    depth = reference_depth(points, tables.faces.tolist(), tables.coarse_index.tolist())
    half = vertex_tokens.shape[1] // 2
    frequencies = [math.pi * 2 ** (8.0 * j / (half - 1)) for j in range(half)]
    code = [[math.sin(f * d) for f in frequencies] + [math.cos(f * d) for f in frequencies] for d in depth]
    vertex_tokens = vertex_tokens + torch.tensor(code, dtype=torch.float64)

    face = net.conditioner.abstractor(features[:, 1:])[0].double()
    face = linear(gelu(linear(face, net_name + "face_mlp.0")), net_name + "face_mlp.2")

    x = torch.cat([vertex_tokens, face])
    for i in range(config.fusion.num_layers):
        name = f"{net_name}fusion.{i}."
        h = layer_norm(x, w[name + "attn_norm.weight"], w[name + "attn_norm.bias"])
        q, k, v = (split(part, config.fusion.num_heads) for part in linear(h, name + "to_qkv").chunk(3, dim=-1))
        x = x + linear(attention(q, k, v), name + "to_out")
        h = layer_norm(x, w[name + "mlp_norm.weight"], w[name + "mlp_norm.bias"])
        x = x + linear(gelu(linear(h, name + "mlp.0")), name + "mlp.2")
    descriptor = net.conditioner.resconv(x[: len(vertex_tokens)][None].float())[0].double()

    heads = PAPER.dit.injection.num_heads if PAPER.dit.injection else 0
    pairs = [linear(descriptor, f"key_values.{i}.to_kv").chunk(2, dim=-1) for i in range(PAPER.dit.num_layers)]
    return torch.stack([torch.stack([split(k, heads), split(v, heads)]) for k, v in pairs])


def reference_depth(points: Tensor, faces: list[list[int]], at: list[int]) -> list[float]:
    """Every place against every triangle."""
    near, far = float(points[:, 2].max()), float(points[:, 2].min())
    depths = []
    for vertex in at:
        front = float(points[vertex, 2])
        for face in faces:
            corners = torch.cat([points[face][:, :2].T, torch.ones(1, 3, dtype=torch.float64)])
            if abs(float(torch.linalg.det(corners))) > 1e-9:
                place = torch.cat([points[vertex, :2], torch.ones(1, dtype=torch.float64)])
                weights = torch.linalg.solve(corners, place)
                if bool((weights >= -1e-9).all()):
                    front = max(front, float(weights @ points[face][:, 2]))
        depths.append((near - front) / (near - far))
    return depths


def reference_injection(net: Network, layer: int, x_ND: Tensor, kv: Tensor) -> Tensor:
    """What eq. 2 (or the shared projection) makes of the video tokens [N, D] of one element, float64."""
    w = {name: value.double() for name, value in net.dit.injections.state_dict().items()}
    name = f"layers.{layer}."
    q = split(x_ND @ w[name + "to_q.weight"].T, kv.shape[1])
    h = attention(q, kv[0], kv[1])
    if "shared_out.weight" in w:
        return x_ND + h @ w["shared_out.weight"].T
    frames, rows, columns = GRID
    h = h @ w[name + "layer_aware.pointwise.weight"].T
    maps, kernel = h.reshape(frames, rows, columns, -1), w[name + "layer_aware.depthwise.weight"][:, 0]
    out = torch.zeros_like(maps)
    for r in range(rows):
        for c in range(columns):
            for dr in (-1, 0, 1):
                for dc in (-1, 0, 1):
                    if 0 <= r + dr < rows and 0 <= c + dc < columns:
                        out[:, r, c] += maps[:, r + dr, c + dc] * kernel[:, dr + 1, dc + 1]
    norm = name + "layer_aware.norm."
    return x_ND + layer_norm(out.reshape(len(x_ND), -1), w[norm + "weight"], w[norm + "bias"])


def network(form: str) -> Network:
    assert PAPER.dit.injection is not None
    net = Network(
        replace(PAPER, dit=replace(PAPER.dit, injection=replace(PAPER.dit.injection, form=form))), hierarchy()
    )
    randomise(net)
    net.conditioner.vertex_net.template.copy_(0.1 * sphere(162)[0])
    net.conditioner.vertex_net.sigma.fill_(0.01)
    return net.eval()


def face(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Tower features and the vertices of a lumpy head, which hides some of its coarse vertices from the viewer."""
    generator = torch.Generator().manual_seed(seed)
    points = 0.1 * sphere(162)[0].float()
    points = points * (1 + 0.3 * torch.sin(40 * points[:, :1])) + 0.003 * torch.randn(162, 3, generator=generator)
    return torch.randn(1, 65, 32, generator=generator), points[None]


@torch.inference_mode()
def errors(form: str) -> dict[str, float]:
    """Relative L2 of the conditioner's keys and values, and of one injection, against the reference."""
    net = network(form)
    features, vertices = face()
    expected_kv = REFERENCE[form][0]
    id_kv = net.conditioner(features, vertices)
    x = torch.randn(2, 72, 32, generator=torch.Generator().manual_seed(4))
    injected = net.dit.injections(1, x, expected_kv.float()[:, :, None], GRID)
    return {
        "id_kv": relative_l2(id_kv[:, :, 0], expected_kv),
        "injection": relative_l2(injected - x, REFERENCE[form][1] - x.double()),
    }


REFERENCE: dict[str, tuple[Tensor, Tensor]] = {}


@pytest.fixture(scope="module", autouse=True)
def reference() -> None:
    """Keys and values of the face, and the second layer's injection into two elements, once for all tests."""
    with torch.inference_mode():
        for form in ("layer_aware", "shared"):
            net = network(form)
            id_kv = reference_id_kv(net, *face())
            x = torch.randn(2, 72, 32, generator=torch.Generator().manual_seed(4)).double()
            injected = torch.stack([reference_injection(net, 1, element, id_kv[1]) for element in x])
            REFERENCE[form] = id_kv, injected


@pytest.mark.parametrize("form", ["layer_aware", "shared"])
def test_matches_the_reference(form: str) -> None:
    assert max(errors(form).values()) < TOLERANCE, errors(form)


def depth_left_out(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(vertex_net, "depth_code", lambda depth, dim, octaves: depth.new_zeros(*depth.shape, dim))


def own_depth(patch: pytest.MonkeyPatch) -> None:
    def read(vertices: Tensor, faces: Tensor, at: Tensor) -> Tensor:
        z = vertices[..., 2]
        return (z.amax(1, keepdim=True) - z[:, at]) / (z.amax(1, keepdim=True) - z.amin(1, keepdim=True))

    patch.setattr(vertex_net, "read_depth", read)


def layer_aware(split_in: str, split_out: str) -> Callable[[pytest.MonkeyPatch], None]:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        def forward(self: LayerAware, h: Tensor, grid: tuple[int, int, int]) -> Tensor:
            sizes = dict(zip("fhw", grid, strict=True))
            maps = self.depthwise(rearrange(self.pointwise(h), split_in, **sizes))
            return self.norm(rearrange(maps, split_out, **sizes))

        patch.setattr(LayerAware, "forward", forward)

    return mutate


def norm_on_queries(patch: pytest.MonkeyPatch) -> None:
    right = LayerAwareLayer.forward
    patch.setattr(
        LayerAwareLayer, "forward", lambda self, x, kv, grid: right(self, F.layer_norm(x, x.shape[-1:]), kv, grid)
    )


def keys_for_values(patch: pytest.MonkeyPatch) -> None:
    right = injection.attend
    patch.setattr(injection, "attend", lambda q, kv: right(q, kv.flip(0)))


def no_elu(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(F, "elu", lambda x: x)


def last_tokens_kept(patch: pytest.MonkeyPatch) -> None:
    right = FusionTransformer.forward
    patch.setattr(FusionTransformer, "forward", lambda self, x: right(self, x).roll(4, dims=1))


def shared_projection_left_out(patch: pytest.MonkeyPatch) -> None:
    right = Injections.__init__

    def init(self: Injections, *args: object) -> None:
        right(self, *args)  # pyright: ignore[reportArgumentType]
        self.shared_out.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))

    patch.setattr(Injections, "__init__", init)


WRONG_READINGS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "E_dep left out": (depth_left_out, "layer_aware", "id_kv"),
    "each vertex's own depth for the depth map": (own_depth, "layer_aware", "id_kv"),
    "no ELU in the encoder": (no_elu, "layer_aware", "id_kv"),
    "the last N' tokens kept": (last_tokens_kept, "layer_aware", "id_kv"),
    "F_l with rows and columns swapped": (
        layer_aware("b (f w h) d -> (b f) d h w", "(b f) d h w -> b (f w h) d"),
        "layer_aware",
        "injection",
    ),
    "F_l across latent frames": (
        layer_aware("b (f h w) d -> b d (f h) w", "b d (f h) w -> b (f h w) d"),
        "layer_aware",
        "injection",
    ),
    "a norm on the queries": (norm_on_queries, "layer_aware", "injection"),
    "keys and values swapped": (keys_for_values, "layer_aware", "injection"),
    "shared projection left out": (shared_projection_left_out, "shared", "injection"),
}


@pytest.mark.parametrize("reading", WRONG_READINGS)
def test_wrong_reading_is_found(monkeypatch: pytest.MonkeyPatch, reading: str) -> None:
    mutate, form, output = WRONG_READINGS[reading]
    mutate(monkeypatch)
    assert errors(form)[output] > 100 * TOLERANCE
