"""Each reading of the release that the goldens can tell apart makes their comparison fail.

One row of the table in the goldens' README a case: the network is changed in that one way, and every output that the
table says must move does move, by more than the tolerance that the real comparison allows.
"""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.models import vertex_net
from fantasyid_engine.models.face_abstractor import ConvNorm
from fantasyid_engine.models.network import Network
from fantasyid_engine.models.spiral_net import SpiralConv
from tests.goldens import golden, relative_l2
from tests.released_parts import outputs, tolerance

pytestmark = pytest.mark.reference_data

Mutate = Callable[[pytest.MonkeyPatch, Network], None]
MAIN_OUTPUT = {
    "face": "face_abstractor.out",
    "vertex": "vertex_spiral_net.out",
    "reducer": "vertex_reducer.out",
    "injection": "layer_attention.0.out",
    "full": "full_cfg.out",
}


def epsilon(where: Callable[[Network], list[nn.Module]], eps: float) -> Mutate:
    """All norms in the modules that `where` names get another epsilon."""

    def mutate(patch: pytest.MonkeyPatch, network: Network) -> None:
        norms = [m for root in where(network) for m in root.modules() if isinstance(m, nn.LayerNorm | nn.GroupNorm)]
        assert norms
        for norm in norms:
            patch.setattr(norm, "eps", eps)

    return mutate


def zero(where: Callable[[Network], Tensor]) -> Mutate:
    """A weight is zero."""

    def mutate(patch: pytest.MonkeyPatch, network: Network) -> None:
        tensor = where(network)
        patch.setattr(tensor, "data", torch.zeros_like(tensor))

    return mutate


def gelu(approximate: str) -> Mutate:
    """Every GELU is of one kind."""

    def mutate(patch: pytest.MonkeyPatch, network: Network) -> None:
        plain = F.gelu
        patch.setattr(F, "gelu", lambda x, **kwargs: plain(x, approximate=approximate))

    return mutate


def leaky_slope_zero(patch: pytest.MonkeyPatch, network: Network) -> None:
    for module in network.conditioner.modules():
        if isinstance(module, nn.LeakyReLU):
            patch.setattr(module, "negative_slope", 0.0)


def spirals_rotated(patch: pytest.MonkeyPatch, network: Network) -> None:
    for module in network.conditioner.modules():
        if isinstance(module, SpiralConv):
            patch.setattr(module.spiral, "data", module.spiral.roll(1, dims=1))


def raw_z(patch: pytest.MonkeyPatch, network: Network) -> None:
    right = vertex_net.released_depth_code
    patch.setattr(vertex_net, "released_depth_code", lambda z, dim: right(2 * z - 1, dim))


def conv_norms(n: Network) -> list[nn.Module]:
    return [m for m in n.conditioner.abstractor.modules() if isinstance(m, ConvNorm)]


def mapping_and_feed_forward(n: Network) -> list[nn.Module]:
    return [n.conditioner.abstractor.mapping, n.conditioner.abstractor.feed_forward]


def injection_norms(n: Network) -> list[nn.Module]:
    return [n.conditioner.key_values, n.dit.injections]


def qk_norms(n: Network) -> list[nn.Module]:
    return [norm for block in n.dit.blocks for norm in (block.attn.norm_q, block.attn.norm_k)]


def block_norms(n: Network) -> list[nn.Module]:
    return [norm for block in n.dit.blocks for norm in (block.attn_mod, block.ff_mod)]


WRONG_READINGS: dict[str, tuple[Mutate, str]] = {
    "layers.8 positions not added": (zero(lambda n: n.conditioner.abstractor.abstractor.positions[0]), "face full"),
    "layers.9 positions not added": (zero(lambda n: n.conditioner.abstractor.abstractor.positions[1]), "face full"),
    "C-Abstractor norm eps 1e-6": (epsilon(conv_norms, 1e-6), "face full"),
    "mapping and feed-forward norm eps 1e-6": (epsilon(mapping_and_feed_forward, 1e-6), "face full"),
    "reducer GroupNorm eps 1e-6": (epsilon(lambda n: [n.conditioner.resconv], 1e-6), "reducer full"),
    "injection norm eps 1e-6": (epsilon(injection_norms, 1e-6), "injection full"),
    "q/k norm eps 1e-5": (epsilon(qk_norms, 1e-5), "full"),
    "norm1/norm2 eps 1e-6": (epsilon(block_norms, 1e-6), "full"),
    "fusion norm eps 1e-6": (epsilon(lambda n: [n.conditioner.vertex_net.fusion], 1e-6), "vertex"),
    "tanh GELU where exact is right": (gelu("tanh"), "face vertex full"),
    "exact GELU in the DiT feed-forward": (gelu("none"), "full"),
    "LeakyReLU slope 0": (leaky_slope_zero, "face full"),
    "vtx_query zero": (zero(lambda n: n.conditioner.vertex_net.query), "vertex full"),
    "learned positions left out": (zero(lambda n: n.dit.patch_embed.pos_embedding), "full"),
    "spirals rotated by one": (spirals_rotated, "vertex full"),
    "raw z for 0.5 z + 0.5": (raw_z, "vertex full"),
}


@pytest.mark.parametrize("reading", WRONG_READINGS)
def test_wrong_reading_is_found(golden_network: Network, monkeypatch: pytest.MonkeyPatch, reading: str) -> None:
    mutate, parts = WRONG_READINGS[reading]
    mutate(monkeypatch, golden_network)
    for part in parts.split():
        name = MAIN_OUTPUT[part]
        change = relative_l2(outputs(golden_network, part)[name], golden("outputs_f32")[name])
        print(f"{reading}: {part} moves by {change:.1e}")
        assert change > tolerance(name), f"{reading}: {name} moves by {change:.1e} only"
