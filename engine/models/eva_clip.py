"""EVA-02 vision tower: a picture of a face -> the hidden state that the face abstractor reads.

    x = [cls ; patches] + positions;  num_layers x (x += attention(LN x);  x += SwiGLU(LN x))

with 2-D rotary positions on the patch tokens, an inner LayerNorm before both output projections, and biases on q and v
but not on k. Only the blocks up to the used hidden state exist: of the 24 trained blocks of EVA02-CLIP-L-14-336 the
last four, the final norm and the head are never needed.

B batch, M tokens (CLS and patches), C width. Source: EVA-02 (Fang et al. 2023), EVA-CLIP (Sun et al. 2023).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import TowerConfig
from fantasyid_engine.kernels.reference import rotate
from fantasyid_engine.models.attention import merge_heads, split_heads


def patch_rotary(config: TowerConfig) -> tuple[Tensor, Tensor]:
    """cos, sin [grid^2, head_dim] float32: half of the channels turn with the row, half with the column."""
    half = config.width // config.num_heads // 2
    position = torch.arange(config.grid, dtype=torch.float32) / config.grid * config.rope_grid
    frequencies = 1.0 / (10000.0 ** (torch.arange(0, half, 2, dtype=torch.float32) / half))
    angles = torch.outer(position, frequencies).repeat_interleave(2, dim=1)
    row = angles[:, None].expand(-1, config.grid, -1)
    column = angles[None].expand(config.grid, -1, -1)
    joint = torch.cat([row, column], dim=-1).flatten(0, 1)
    return joint.cos(), joint.sin()


class TowerAttention(nn.Module):
    """Self-attention with rotary patch tokens and a LayerNorm before the output projection."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.to_q = nn.Linear(config.width, config.width)
        self.to_k = nn.Linear(config.width, config.width, bias=False)
        self.to_v = nn.Linear(config.width, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.to_out = nn.Linear(config.width, config.width)

    def forward(self, x_BMC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, M, C] -> [B, M, C]; the first token is CLS and is not turned."""
        q, k, v = (split_heads(to(x_BMC), self.num_heads) for to in (self.to_q, self.to_k, self.to_v))
        q = torch.cat([q[:, :, :1], rotate(q[:, :, 1:], cos, sin)], dim=2)
        k = torch.cat([k[:, :, :1], rotate(k[:, :, 1:], cos, sin)], dim=2)
        return self.to_out(self.norm(merge_heads(F.scaled_dot_product_attention(q, k, v))))


class SwiGLU(nn.Module):
    """silu(x W_gate) * (x W_up), LayerNorm, W_down."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.mlp_dim)
        self.up = nn.Linear(config.width, config.mlp_dim)
        self.norm = nn.LayerNorm(config.mlp_dim, eps=config.norm_eps)
        self.down = nn.Linear(config.mlp_dim, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """[..., C] -> [..., C]."""
        return self.down(self.norm(F.silu(self.gate(x)) * self.up(x)))


class TowerBlock(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.attn = TowerAttention(config)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.mlp = SwiGLU(config)

    def forward(self, x_BMC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """[B, M, C] -> [B, M, C]."""
        x_BMC = x_BMC + self.attn(self.attn_norm(x_BMC), cos, sin)
        return x_BMC + self.mlp(self.mlp_norm(x_BMC))


class Tower(nn.Module):
    """Normalised picture -> hidden state after `num_layers` blocks, CLS token first."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, config.width, config.patch_size, stride=config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid**2 + 1, config.width))
        self.blocks = nn.ModuleList(TowerBlock(config) for _ in range(config.num_layers))

    def forward(self, image_B3HW: Tensor) -> Tensor:
        """Hidden state of a picture.

        Args:
            image_B3HW: RGB [B, 3, image_size, image_size] in the weights' dtype, [0, 1] normalised by CLIP's mean
                (0.48145466, 0.4578275, 0.40821073) and deviation (0.26862954, 0.26130258, 0.27577711).

        Returns:
            [B, 1 + grid^2, width], CLS first.

        Raises:
            ValueError: a picture of another size.
        """
        size = self.config.image_size
        if tuple(image_B3HW.shape[1:]) != (3, size, size):
            raise ValueError(f"picture of {tuple(image_B3HW.shape[1:])}; this tower takes (3, {size}, {size})")
        patches = self.patches(image_B3HW).flatten(2).transpose(1, 2)
        x_BMC = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1) + self.pos_embed
        cos, sin = (table.to(x_BMC.device) for table in patch_rotary(self.config))
        for block in self.blocks:
            x_BMC = block(x_BMC, cos, sin)
        return x_BMC
