"""Q-Former: learned queries ask the tower's patch tokens; what the ablation "w/o face abstractor" has in its place.

    x = queries;  depth x (x += SelfAttn(LN x);  x += CrossAttn(LN x, LN t);  x += MLP(LN x));  X_f = linear(LN x)

with t = linear(patch tokens). The order of the patch tokens does not matter, so what comes out has no places: tokens
only hold what the tower itself wrote of its places into them. Number and width are those of the face abstractor's.

B batch, M patch tokens, T queries, C channels. Source: FantasyID paper, section 4.4; BLIP-2 (Li et al. 2023), whose
layers it has, with the norms before them and an attention to the picture in every one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import QFormerConfig
from fantasyid_engine.models.attention import merge_heads, split_heads

QUERY_DEVIATION = 0.02
"""Of the queries at the start, as in BLIP-2: equal queries would stay equal."""


class QFormerLayer(nn.Module):
    """Self-attention of the queries, their attention to the patch tokens, and a feed-forward; all pre-norm."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        dim, eps = config.hidden_dim, config.norm_eps
        self.num_heads = config.num_heads
        self.self_norm = nn.LayerNorm(dim, eps=eps)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.self_out = nn.Linear(dim, dim)
        self.cross_norm = nn.LayerNorm(dim, eps=eps)
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.cross_out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x_BTC: Tensor, tokens_BMC: Tensor) -> Tensor:
        """Queries [B, T, C] and normalised patch tokens [B, M, C] -> [B, T, C]."""
        x_BTC = x_BTC + self.self_out(self._attend(*self.to_qkv(self.self_norm(x_BTC)).chunk(3, dim=-1)))
        q = self.to_q(self.cross_norm(x_BTC))
        x_BTC = x_BTC + self.cross_out(self._attend(q, *self.to_kv(tokens_BMC).chunk(2, dim=-1)))
        return x_BTC + self.mlp(self.mlp_norm(x_BTC))

    def _attend(self, *qkv: Tensor) -> Tensor:
        q, k, v = (split_heads(x, self.num_heads) for x in qkv)
        return merge_heads(F.scaled_dot_product_attention(q, k, v))


class QFormer(nn.Module):
    """Patch tokens -> `num_queries` face tokens of the tower's width."""

    def __init__(self, config: QFormerConfig) -> None:
        super().__init__()
        dim, eps = config.hidden_dim, config.norm_eps
        self.queries = nn.Parameter(QUERY_DEVIATION * torch.randn(1, config.num_queries, dim))
        self.proj_in = nn.Linear(config.in_dim, dim)
        self.tokens_norm = nn.LayerNorm(dim, eps=eps)
        self.layers = nn.ModuleList(QFormerLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.proj_out = nn.Linear(dim, config.in_dim)

    def forward(self, tokens_BMC: Tensor) -> Tensor:
        """Patch tokens [B, M, in_dim] without CLS, any M -> face tokens [B, num_queries, in_dim]."""
        tokens_BMC = self.tokens_norm(self.proj_in(tokens_BMC))
        x_BTC = self.queries.expand(len(tokens_BMC), -1, -1)
        for layer in self.layers:
            x_BTC = layer(x_BTC, tokens_BMC)
        return self.proj_out(self.norm(x_BTC))
