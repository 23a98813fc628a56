"""Blending vertex and face tokens, and bringing them to the injection's width.

    FusionTransformer   x += Attn(LN x);  x += MLP(LN x)                     pre-norm, no final norm
    ResConv1D           h = Mish(GN(conv_s(x)));  x = Mish(GN(conv_3(h))) + conv_s(x)   along the token axis

B batch, T tokens, C channels. Source: FantasyID paper, section 3.4; github.com/Fantasy-AMAP/fantasy-id @ c429092,
models/vertex_encode.py.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import FusionConfig, ResConvConfig
from fantasyid_engine.models.attention import merge_heads, split_heads


class FusionLayer(nn.Module):
    """One pre-norm transformer layer with exact GELU."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.attn_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.to_qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.to_out = nn.Linear(config.dim, config.dim)
        self.mlp_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(config.dim, config.mlp_dim), nn.GELU(), nn.Linear(config.mlp_dim, config.dim)
        )

    def forward(self, x_BTC: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, C]."""
        q, k, v = (split_heads(h, self.num_heads) for h in self.to_qkv(self.attn_norm(x_BTC)).chunk(3, dim=-1))
        x_BTC = x_BTC + self.to_out(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return x_BTC + self.mlp(self.mlp_norm(x_BTC))


class FusionTransformer(nn.Sequential):
    """`num_layers` fusion layers, [B, T, C] -> [B, T, C]."""

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(*(FusionLayer(config) for _ in range(config.num_layers)))


class ConvGroupMish(nn.Module):
    """Conv1d, GroupNorm, Mish."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, stride: int, config: ResConvConfig) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_dim, out_dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.GroupNorm(config.groups, out_dim, eps=config.norm_eps)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """[B, in_dim, T] -> [B, out_dim, ceil(T / stride)]."""
        return F.mish(self.norm(self.conv(x_BCT)))


class ResConvBlock(nn.Module):
    """Two convolutions and a strided convolution as shortcut; nothing after the sum."""

    def __init__(self, in_dim: int, out_dim: int, kernel: int, stride: int, config: ResConvConfig) -> None:
        super().__init__()
        self.conv_in = ConvGroupMish(in_dim, out_dim, kernel, stride, config)
        self.conv_out = ConvGroupMish(out_dim, out_dim, 3, 1, config)
        self.shortcut = nn.Conv1d(in_dim, out_dim, kernel, stride, padding=kernel // 2)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """[B, in_dim, T] -> [B, out_dim, ceil(T / stride)]."""
        return self.conv_out(self.conv_in(x_BCT)) + self.shortcut(x_BCT)


class ResConv1D(nn.Module):
    """Residual convolutions along the token axis: the paper's ResConv1D and the release's vertex reducer."""

    def __init__(self, in_dim: int, config: ResConvConfig) -> None:
        super().__init__()
        dims = (in_dim, *config.channels)
        shapes = zip(dims, dims[1:], config.kernels, config.strides, strict=False)
        self.blocks = nn.Sequential(*(ResConvBlock(*shape, config) for shape in shapes))

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Tokens [B, T, in_dim] -> [B, T', channels[-1]], T' after all strides."""
        return self.blocks(x_BTC.transpose(1, 2)).transpose(1, 2)
