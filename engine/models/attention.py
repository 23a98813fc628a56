"""Joint self-attention of the MM-DiT over [text ; video] tokens.

    q, k, v = linear(h);  q, k <- LayerNorm per head;  rotary on the video part of q and k;  softmax(q k^T / sqrt d) v

B batch, N video tokens, L text tokens, D width. Source: CogVideoX (Yang et al. 2024), diffusers' processor.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import DiTConfig
from fantasyid_engine.kernels.reference import rotate


def split_heads(x_BNC: Tensor, num_heads: int) -> Tensor:
    """[B, N, heads * d] -> [B, heads, N, d]."""
    return x_BNC.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x_BHNd: Tensor) -> Tensor:
    """[B, heads, N, d] -> [B, N, heads * d]."""
    return x_BHNd.transpose(1, 2).flatten(2)


class JointAttention(nn.Module):
    """Self-attention of text and video tokens with one set of projections."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, head_dim = config.dim, config.attention_head_dim
        self.num_heads = config.num_attention_heads
        self.to_q = nn.Linear(dim, dim)
        self.to_k = nn.Linear(dim, dim)
        self.to_v = nn.Linear(dim, dim)
        self.norm_q = nn.LayerNorm(head_dim, eps=config.qk_norm_eps)
        self.norm_k = nn.LayerNorm(head_dim, eps=config.qk_norm_eps)
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x_BND: Tensor, c_BLD: Tensor, cos: Tensor | None, sin: Tensor | None) -> tuple[Tensor, Tensor]:
        """Video x [B, N, D] and text c [B, L, D] -> the same shapes; cos, sin [N, head_dim] or None."""
        length = c_BLD.shape[1]
        h = torch.cat([c_BLD, x_BND], dim=1)
        q = self.norm_q(split_heads(self.to_q(h), self.num_heads))
        k = self.norm_k(split_heads(self.to_k(h), self.num_heads))
        v = split_heads(self.to_v(h), self.num_heads)
        if cos is not None and sin is not None:
            q = torch.cat([q[:, :, :length], rotate(q[:, :, length:], cos, sin)], dim=2)
            k = torch.cat([k[:, :, :length], rotate(k[:, :, length:], cos, sin)], dim=2)
        h = self.to_out(merge_heads(F.scaled_dot_product_attention(q, k, v)))
        return h[:, length:], h[:, :length]
