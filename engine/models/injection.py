"""ID cross-attention: how the face enters each DiT layer, on the video tokens after the block.

    released     x + W_o Attn(LN(x) W_q, K, V)            K, V = LN(id) W_kv
    layer_aware  x + F_l(Attn(x W_q, K, V))               K, V = V_F W_k, V_F W_v      (paper, eq. 2)
    shared       x + W_shared Attn(x W_q, K, V)           the ablation "without layer-aware injection"

F_l = 1x1 projection, depthwise 3x3 over each latent frame's token grid, LayerNorm with gain and bias zero at start:
the layer starts as the identity. K and V depend on the face alone, so they are made by the conditioner
(`KeyValue`), once a request, and come in as `id_kv`.

B batch, N video tokens, D width, K identity tokens, I injections, d channels a head.
Source: FantasyID paper, section 3.5; github.com/Fantasy-AMAP/fantasy-id @ c429092, models/face_abstractor.py.
"""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import InjectionConfig
from fantasyid_engine.kernels import id_injection as kernel
from fantasyid_engine.kernels.reference import attend, conv_norm
from fantasyid_engine.models.attention import split_heads


class KeyValue(nn.Module):
    """ID tokens -> keys and values of one layer. Lives in the conditioner."""

    def __init__(self, config: InjectionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        released = config.form == "released"
        self.norm = nn.LayerNorm(config.id_dim, eps=config.norm_eps) if released else nn.Identity()
        self.to_kv = nn.Linear(config.id_dim, 2 * config.inner_dim, bias=False)

    def forward(self, id_BKC: Tensor) -> Tensor:
        """[B, K, id_dim] -> [2, B, heads, K, d]: keys, then values."""
        keys, values = self.to_kv(self.norm(id_BKC)).chunk(2, dim=-1)
        return torch.stack([split_heads(keys, self.num_heads), split_heads(values, self.num_heads)])


class ReleasedLayer(nn.Module):
    """W_o Attn(LN x, id_kv), no biases but the norm's."""

    def __init__(self, dim: int, config: InjectionConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=config.norm_eps)
        self.to_q = nn.Linear(dim, config.inner_dim, bias=False)
        self.to_out = nn.Linear(config.inner_dim, dim, bias=False)

    def forward(self, x_BND: Tensor, id_kv: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Video tokens [B, N, D] -> what is added to them; id_kv [2, 1 or B, heads, K, d]; grid is not needed."""
        return self.to_out(attend(self.to_q(self.norm(x_BND)), id_kv))

    def sublayer(self, heads: int, shared_out: nn.Linear | None) -> kernel.Sublayer:
        """Its weights as the kernels want them."""
        return kernel.sublayer(heads, self.to_q.weight, self.to_out.weight, (self.norm.weight, self.norm.bias))


class LayerAware(nn.Module):
    """F_l of eq. 2: "a convolution block followed by normalization", own weights a layer."""

    def __init__(self, inner_dim: int, dim: int, norm_eps: float) -> None:
        super().__init__()
        self.pointwise = nn.Linear(inner_dim, dim, bias=False)
        self.depthwise = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.norm = nn.LayerNorm(dim, eps=norm_eps)
        nn.init.zeros_(self.norm.weight)

    def forward(self, h_BNC: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """[B, N, inner] -> [B, N, D]; N = latent frames * rows * columns = prod(grid)."""
        taps, norm = self.depthwise.weight[:, 0], self.norm
        return conv_norm(self.pointwise(h_BNC), taps, norm.weight, norm.bias, grid, norm.eps)


class LayerAwareLayer(nn.Module):
    """F_l(Attn(x W_q, id_kv)), eq. 2 of the paper."""

    def __init__(self, dim: int, config: InjectionConfig) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, config.inner_dim, bias=False)
        self.layer_aware = LayerAware(config.inner_dim, dim, config.norm_eps)

    def forward(self, x_BND: Tensor, id_kv: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Video tokens [B, N, D] -> what is added; id_kv [2, 1 or B, heads, K, d]; grid (frames, rows, columns)."""
        return self.layer_aware(attend(self.to_q(x_BND), id_kv), grid)

    def sublayer(self, heads: int, shared_out: nn.Linear | None) -> kernel.Sublayer:
        """Its weights as the kernels want them."""
        own = self.layer_aware
        rest = kernel.LayerAware(own.depthwise.weight[:, 0], own.norm.weight, own.norm.bias, own.norm.eps)
        return kernel.sublayer(heads, self.to_q.weight, own.pointwise.weight, layer_aware=rest)


class QueryLayer(nn.Module):
    """Attn(x W_q, id_kv) alone: what a layer of the `shared` form owns."""

    def __init__(self, dim: int, config: InjectionConfig) -> None:
        super().__init__()
        self.to_q = nn.Linear(dim, config.inner_dim, bias=False)

    def forward(self, x_BND: Tensor, id_kv: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Video tokens [B, N, D] -> [B, N, heads * d]; id_kv [2, 1 or B, heads, K, d]; grid is not needed."""
        return attend(self.to_q(x_BND), id_kv)

    def sublayer(self, heads: int, shared_out: nn.Linear | None) -> kernel.Sublayer:
        """Its weights, and those that all layers share, as the kernels want them."""
        assert shared_out is not None, "this form has one"
        return kernel.sublayer(heads, self.to_q.weight, shared_out.weight)


LAYERS = {"released": ReleasedLayer, "layer_aware": LayerAwareLayer, "shared": QueryLayer}


class Injections(nn.Module):
    """The injections of all layers: one after every `interval`-th block, the first block included."""

    def __init__(self, count: int, dim: int, config: InjectionConfig) -> None:
        super().__init__()
        self.interval, self.heads = config.interval, config.num_heads
        self.layers = nn.ModuleList(LAYERS[config.form](dim, config) for _ in range(count))
        self.shared_out = nn.Identity()
        if config.form == "shared":
            self.shared_out = nn.Linear(config.inner_dim, dim, bias=False)
            nn.init.zeros_(self.shared_out.weight)

    def forward(self, block: int, x_BND: Tensor, id_kv: Tensor, grid: tuple[int, int, int]) -> Tensor:
        """Video tokens [B, N, D] after block number `block` -> the same with the face injected, where it is its turn.

        `id_kv` [I, 2, 1 or B, heads, K, d] holds the keys and values of all layers.
        """
        turn, rest = divmod(block, self.interval)
        if rest:
            return x_BND
        return x_BND + self.shared_out(self.layers[turn](x_BND, id_kv[turn], grid))

    @torch.no_grad()
    def sublayers(self) -> tuple[kernel.Sublayer, ...]:
        """The weights of all layers as the kernels want them."""
        shared = self.shared_out if isinstance(self.shared_out, nn.Linear) else None
        layers = (layer for layer in self.layers if isinstance(layer, ReleasedLayer | LayerAwareLayer | QueryLayer))
        return tuple(layer.sublayer(self.heads, shared) for layer in layers)
