"""The ops as the network calls them: each goes to its Triton kernel or to its plain-torch reference (`dispatch`).

Shapes and letters: see `reference`.
"""

import torch
from torch import Tensor

from fantasyid_engine.kernels import reference
from fantasyid_engine.kernels.dispatch import wants_mesh_triton, wants_triton


def norm_modulate(
    h_BTD: Tensor,
    missing_D: Tensor,
    weight_D: Tensor,
    bias_D: Tensor,
    modulation_B6D: Tensor,
    length: int,
    eps: float,
) -> Tensor:
    """LayerNorm(h) (1 + scale) + shift, of text (the first `length` tokens) and video by their own rows.

    To the video `missing` (float32) is added first.
    """
    if not wants_triton(h_BTD, weight_D, modulation_B6D):
        return reference.norm_modulate(h_BTD, missing_D, weight_D, bias_D, modulation_B6D, length, eps)
    from fantasyid_engine.kernels import norm_modulate as op

    return op.norm_modulate(h_BTD, missing_D, weight_D, bias_D, modulation_B6D, length, eps)


def gate_weight(weight_DK: Tensor, gate_D: Tensor) -> Tensor:
    """A linear layer's weights times a gate of each output."""
    if not wants_triton(weight_DK, gate_D):
        return reference.gate_weight(weight_DK, gate_D)
    from fantasyid_engine.kernels import gate_weight as op

    return op.gate_weight(weight_DK, gate_D)


def gated_linear_(
    h_BTD: Tensor, x_BTK: Tensor, weight_DK: Tensor, bias_D: Tensor, modulation_16D: Tensor, length: int
) -> None:
    """Adds gate (x W^T + bias) to text tokens, gate (x W^T) to video tokens, in place.

    Onto the video the product itself adds, with the gate in its weights; there is no room in it for the bias too, which
    those who read the video add. The text has another gate, and is too few tokens to pay for weights of its own.
    """
    text, video = h_BTD[:, :length], h_BTD[:, length:]
    weights = gate_weight(weight_DK, modulation_16D[0, 2])
    video.baddbmm_(x_BTK[:, length:], weights.T.expand(len(h_BTD), -1, -1))
    made = torch.baddbmm(bias_D, x_BTK[:, :length], weight_DK.T.expand(len(h_BTD), -1, -1))
    text.addcmul_(made, modulation_16D[0, 5])


def linear_gelu(x_BTD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Linear layer, then GELU by its tanh formula, which cuBLAS has as an epilogue.

    PyTorch's operator for that takes the exact formula on a CPU.
    """
    if not (x_BTD.is_cuda and wants_triton(x_BTD, weight, bias)):
        return reference.linear_gelu(x_BTD, weight, bias)
    rows = torch.ops.aten._addmm_activation(bias, x_BTD.flatten(0, 1), weight.T, use_gelu=True)
    return rows.unflatten(0, x_BTD.shape[:2])


def qk_norm_rope(
    qkv_BT3C: Tensor,
    heads: int,
    q_norm_d: tuple[Tensor, Tensor],
    k_norm_d: tuple[Tensor, Tensor],
    cos_Nd: Tensor | None,
    sin_Nd: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """From a fused projection q and k, normalised per head (weight, bias), rotary on the video -> [B, heads, T, d]."""
    if not wants_triton(qkv_BT3C, *q_norm_d, *k_norm_d):
        return reference.qk_norm_rope(qkv_BT3C, heads, *q_norm_d, *k_norm_d, cos_Nd, sin_Nd, eps)
    from fantasyid_engine.kernels import qk_norm_rope as op

    return op.qk_norm_rope(qkv_BT3C, heads, *q_norm_d, *k_norm_d, cos_Nd, sin_Nd, eps)


def spiral_conv(x_BVC: Tensor, index_VS: Tensor, weight_DSC: Tensor, bias_D: Tensor, *, elu: bool) -> Tensor:
    """Gather spirals, linear, ELU where it is asked for -> [B, V, D]; has a gradient."""
    if not wants_mesh_triton(x_BVC, weight_DSC):
        return reference.spiral_conv(x_BVC, index_VS, weight_DSC, bias_D, elu)
    from fantasyid_engine.kernels import spiral_conv as op

    return op.spiral_conv(x_BVC, index_VS, weight_DSC, bias_D, elu)


def resample(x_BVC: Tensor, index_WJ: Tensor, value_WJ: Tensor) -> Tensor:
    """Weighted sum of J vertices for each of another mesh -> [B, W, C]; has a gradient."""
    if not wants_mesh_triton(x_BVC):
        return reference.resample(x_BVC, index_WJ, value_WJ)
    from fantasyid_engine.kernels import resample as op

    return op.resample(x_BVC, index_WJ, value_WJ)
