"""The ops in plain torch: what the kernels must compute, and what runs without a GPU, in exports and under autograd.

B batch, T text then video tokens, L text tokens, N video tokens, D width, K identity tokens, d channels a head,
V / W vertices, S spiral length, C channels.

    modulation [1 or B, 6, D]    video's shift, scale and gate, then the text's: what adaLN makes of a timestep
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

Grid = tuple[int, int, int]
"""Latent frames, rows and columns of tokens."""


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

    To the video `missing` is added first.
    """
    shift, scale, _, text_shift, text_scale, _ = modulation_B6D[:, :, None].unbind(1)
    text, video = h_BTD[:, :length], (h_BTD[:, length:] + missing_D).to(h_BTD.dtype)
    text, video = (F.layer_norm(x, x.shape[-1:], weight_D, bias_D, eps) for x in (text, video))
    return torch.cat([text * (1 + text_scale) + text_shift, video * (1 + scale) + shift], dim=1)


def gate_weight(weight_DK: Tensor, gate_D: Tensor) -> Tensor:
    """A linear layer's weights times a gate of each output."""
    return gate_D[:, None] * weight_DK


def linear_gelu(x_BTD: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Linear layer, then GELU by its tanh formula."""
    return F.gelu(F.linear(x_BTD, weight, bias), approximate="tanh")


def qk_norm_rope(
    qkv_BT3C: Tensor,
    heads: int,
    q_weight_d: Tensor,
    q_bias_d: Tensor,
    k_weight_d: Tensor,
    k_bias_d: Tensor,
    cos_Nd: Tensor | None,
    sin_Nd: Tensor | None,
    eps: float,
) -> tuple[Tensor, Tensor]:
    """From a fused projection [B, T, 3 heads d] q, k: LayerNorm per head, rotary on the video -> [B, heads, T, d]."""
    q, k, _ = qkv_BT3C.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    made = []
    for x, weight, bias in ((q, q_weight_d, q_bias_d), (k, k_weight_d, k_bias_d)):
        x = F.layer_norm(x, x.shape[-1:], weight, bias, eps)
        if cos_Nd is not None and sin_Nd is not None:
            length = x.shape[2] - len(cos_Nd)
            x = torch.cat([x[:, :, :length], rotate(x[:, :, length:], cos_Nd, sin_Nd)], dim=2)
        made.append(x)
    return made[0], made[1]


def rotate(x_BHNd: Tensor, cos_Nd: Tensor, sin_Nd: Tensor) -> Tensor:
    """Rotates the channel pairs (2j, 2j + 1); product at least in float32, result in x's dtype."""
    exact = torch.promote_types(x_BHNd.dtype, torch.float32)
    even, odd = x_BHNd.to(exact).unflatten(-1, (-1, 2)).unbind(-1)
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return (x_BHNd.to(exact) * cos_Nd + turned * sin_Nd).to(x_BHNd.dtype)


def id_attention(
    x_BND: Tensor,
    missing_D: Tensor,
    weight: Tensor,
    moved: Tensor,
    sums: Tensor | None,
    offsets: Tensor | None,
    id_kv: Tensor | None,
    heads: int,
    keys: int,
    eps: float,
) -> Tensor:
    """Video tokens to attention over a face's tokens: see `kernels.id_attention`.

    Here both come before the product, what is missing and the norm, so that the values of `moved` and `sums` are not
    wanted.
    """
    exact = torch.promote_types(x_BND.dtype, torch.float32)
    x_BND = (x_BND + missing_D).to(x_BND.dtype)
    if sums is not None:
        x_BND = F.layer_norm(x_BND, x_BND.shape[-1:], eps=eps)
    z = (x_BND @ weight.mT).to(exact)
    if offsets is not None:
        z = z + offsets[:, None]
    if id_kv is not None:
        return attend(z.to(x_BND.dtype), id_kv)
    z = z.unflatten(-1, (heads, -1))
    weights = F.pad(z[..., :keys].softmax(-1), (0, z.shape[-1] - keys))
    return weights.flatten(2).to(x_BND.dtype)


def attend(q_BNC: Tensor, id_kv: Tensor) -> Tensor:
    """Attention of queries [B, N, heads * d] to id_kv [2, 1 or B, heads, K, d] -> [B, N, heads * d]."""
    q = rearrange(q_BNC, "b n (h d) -> b h n d", h=id_kv.shape[2])
    k, v = id_kv.expand(-1, len(q), -1, -1, -1).unbind(0)
    return rearrange(F.scaled_dot_product_attention(q, k, v), "b h n d -> b n (h d)")


def layer_aware(
    x_BND: Tensor, m_BND: Tensor, depthwise_D33: Tensor, weight_D: Tensor, bias_D: Tensor, grid: Grid, eps: float
) -> Tensor:
    """Gives x + LayerNorm(depthwise 3x3 of m over each latent frame's tokens)."""
    return x_BND + conv_norm(m_BND, depthwise_D33, weight_D, bias_D, grid, eps)


def conv_norm(m_BND: Tensor, depthwise_D33: Tensor, weight_D: Tensor, bias_D: Tensor, grid: Grid, eps: float) -> Tensor:
    """What F_l does behind its 1x1 projection, without the residual."""
    _, rows, columns = grid
    maps = rearrange(m_BND, "b (f h w) d -> (b f) d h w", h=rows, w=columns)
    made = F.conv2d(maps, depthwise_D33[:, None], padding=1, groups=len(weight_D))
    made = rearrange(made, "(b f) d h w -> b (f h w) d", b=len(m_BND))
    return F.layer_norm(made, made.shape[-1:], weight_D, bias_D, eps)


def spiral_conv(x_BVC: Tensor, index_VS: Tensor, weight_DSC: Tensor, bias_D: Tensor, elu: bool) -> Tensor:
    """Gives bias + sum over the spiral and channels of x times weight [D, S C], then ELU -> [B, V, D]."""
    made = F.linear(x_BVC[:, index_VS].flatten(2), weight_DSC, bias_D)
    return F.elu(made) if elu else made


def resample(x_BVC: Tensor, index_WJ: Tensor, value_WJ: Tensor) -> Tensor:
    """Sum over j of value[w, j] x[index[w, j]] -> [B, W, C]."""
    return (x_BVC[:, index_WJ] * value_WJ[..., None].to(x_BVC.dtype)).sum(dim=2)
