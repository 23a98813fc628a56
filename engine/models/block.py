"""One block of the MM-DiT: adaLN-modulated joint attention, then an adaLN-modulated feed-forward.

B batch, N video tokens, L text tokens, D width, E time-embedding width.
Source: CogVideoX (Yang et al. 2024), diffusers' `CogVideoXBlock`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import DiTConfig
from fantasyid_engine.models.attention import JointAttention


class Modulation(nn.Module):
    """adaLN: one LayerNorm for text and video; shift, scale and gate of each from the time embedding."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.time_embed_dim, 6 * config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)

    def forward(self, x_BND: Tensor, c_BLD: Tensor, emb_BE: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-> modulated video [B, N, D] and text [B, L, D], and their gates [B, 1, D]."""
        shift, scale, gate, text_shift, text_scale, text_gate = self.linear(F.silu(emb_BE))[:, None].chunk(6, dim=-1)
        x_BND = self.norm(x_BND) * (1 + scale) + shift
        c_BLD = self.norm(c_BLD) * (1 + text_scale) + text_shift
        return x_BND, c_BLD, gate, text_gate


class FeedForward(nn.Module):
    """Linear D -> 4 D, tanh GELU, linear 4 D -> D."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.up = nn.Linear(dim, 4 * dim)
        self.down = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[..., D] -> [..., D]."""
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    """An MM-DiT block. The ID injection that follows it belongs to the DiT."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.attn_mod = Modulation(config)
        self.attn = JointAttention(config)
        self.ff_mod = Modulation(config)
        self.ff = FeedForward(config.dim)

    def forward(
        self, x_BND: Tensor, c_BLD: Tensor, emb_BE: Tensor, cos: Tensor | None, sin: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Video x [B, N, D], text c [B, L, D] -> the same after attention and feed-forward."""
        h_BND, h_BLD, gate_x, gate_c = self.attn_mod(x_BND, c_BLD, emb_BE)
        dx_BND, dc_BLD = self.attn(h_BND, h_BLD, cos, sin)
        x_BND, c_BLD = x_BND + gate_x * dx_BND, c_BLD + gate_c * dc_BLD

        h_BND, h_BLD, gate_x, gate_c = self.ff_mod(x_BND, c_BLD, emb_BE)
        length = c_BLD.shape[1]
        h = self.ff(torch.cat([h_BLD, h_BND], dim=1))
        return x_BND + gate_x * h[:, length:], c_BLD + gate_c * h[:, :length]
