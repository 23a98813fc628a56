"""Gates inside a product's weights, and the product that adds onto the residual stream with them."""

import pytest
import torch
from torch import Tensor

from fantasyid_engine.kernels import gate_weight as op
from fantasyid_engine.kernels import ops, reference
from tests.kernels.cases import DTYPES, draw, no_worse_than_torch, spread

SHAPES = [  # B, T, L, K, D
    pytest.param(1, 1, 0, 1, 1, id="one-number"),
    pytest.param(2, 7, 3, 70, 33, id="ragged-every-axis"),
    pytest.param(2, 5, 5, 64, 32, id="text-only"),
    pytest.param(3, 9, 2, 1024, 16, id="one-block-of-channels"),
    pytest.param(2, 4, 1, 1030, 16, id="two-blocks-of-channels"),
]


def inputs(B: int, T: int, K: int, D: int, dtype: torch.dtype, device: torch.device) -> list[Tensor]:
    """Returns h, x, weight, bias, modulation."""
    shapes = [(B, T, D), (B, T, K), (D, K), (D,), (1, 6, D)]
    scales = [1.0, 1.0, K**-0.5, 1.0, 1.0]
    return [draw(i, *shapes[i], dtype=dtype, device=device, scale=scales[i]) for i in range(5)]


def formula(h: Tensor, x: Tensor, weight: Tensor, bias: Tensor, modulation: Tensor, length: int) -> Tensor:
    """As the plain DiT does it; the video's bias is what those who read it add."""
    d = x @ weight.T
    text = h[:, :length] + modulation[:, 5, None] * (d[:, :length] + bias)
    return torch.cat([text, h[:, length:] + modulation[:, 2, None] * d[:, length:]], dim=1)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "T", "L", "K", "D"), SHAPES)
def test_gate_weight(B, T, L, K, D, dtype, device):
    _, _, weight, gate, _ = inputs(B, T, K, D, dtype, device)
    exact, plain = reference.gate_weight(weight.double(), gate.double()), reference.gate_weight(weight, gate)
    for way in (weight, spread(weight[None])[0]):
        no_worse_than_torch("y", op.gate_weight(way, gate), plain, exact)


@pytest.mark.parametrize("kernels", ["triton", "torch"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("B", "T", "L", "K", "D"), SHAPES)
def test_gated_linear(B, T, L, K, D, dtype, kernels, device, monkeypatch):
    monkeypatch.setenv("FANTASYID_KERNELS", kernels)
    h, *rest = inputs(B, T, K, D, dtype, device)
    exact, plain = formula(h.double(), *(part.double() for part in rest), L), formula(h, *rest, L)
    for made, x in ((h.clone(), rest[0]), (spread(h), spread(rest[0]))):
        ops.gated_linear_(made, x, *rest[1:], L)
        no_worse_than_torch("h", made, plain, exact)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_small_gates_keep_their_digits(dtype, device):
    """What a gate of a thousandth adds is as right as in plain torch, in float16 too."""
    h, x, weight, bias, modulation = inputs(2, 6, 512, 32, dtype, device)
    h, modulation = torch.zeros_like(h), (modulation * 1e-3).to(dtype)
    exact = formula(*(part.double() for part in (h, x, weight, bias, modulation)), 2)
    plain = formula(h, x, weight, bias, modulation, 2)
    ops.gated_linear_(h, x, weight, bias, modulation, 2)
    no_worse_than_torch("h", h, plain, exact)


def test_weights_stay_as_they_are(device):
    """Every step gates them anew, and several engines may share them."""
    h, x, weight, bias, modulation = inputs(2, 5, 64, 32, torch.float32, device)
    before = weight.clone()
    first, second = h.clone(), h.clone()
    ops.gated_linear_(first, x, weight, bias, modulation, 2)
    ops.gated_linear_(h.clone(), x, weight, bias, 2 * modulation, 2)
    ops.gated_linear_(second, x, weight, bias, modulation, 2)
    assert torch.equal(weight, before)
    assert torch.equal(first, second)


def test_registration(device):
    _, _, weight, gate, _ = inputs(1, 1, 9, 5, torch.float32, device)
    torch.library.opcheck(op.gate_weight, (weight, gate))


def test_what_does_not_fit_is_named(device):
    with pytest.raises(ValueError, match=r"gate_weight: gate \(4,\), weight \(5, 9\)"):
        op.gate_weight(torch.zeros(5, 9, device=device), torch.zeros(4, device=device))
