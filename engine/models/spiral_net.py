"""Spiral mesh convolution and resampling between the levels of a mesh hierarchy.

    y[b, v, d] = bias[d] + sum_{s, c} x[b, spiral[v, s], c] * weight[d, s * C + c]
    r[b, w, c] = sum_k value[w, k] * x[b, index[w, k], c]

The tables belong to the mesh, not to the weights: they are buffers outside the state dict.

B batch, V / W vertices, S spiral length, C / D channels in / out. Source: SpiralNet++ (Gong et al. 2019).
"""

from torch import Tensor, nn

from fantasyid_engine.kernels import ops
from fantasyid_engine.models.mesh import MeshHierarchy, SampleTable


class SpiralConv(nn.Module):
    """Gather each vertex's spiral of neighbours, then one linear layer, and ELU unless it is the last."""

    spiral: Tensor

    def __init__(self, in_dim: int, out_dim: int, spiral_VS: Tensor, *, elu: bool = True) -> None:
        super().__init__()
        self.elu = elu
        self.register_buffer("spiral", spiral_VS.long(), persistent=False)
        self.linear = nn.Linear(in_dim * spiral_VS.shape[1], out_dim)

    def forward(self, x_BVC: Tensor) -> Tensor:
        """[B, V, C] -> [B, V, D]."""
        return ops.spiral_conv(x_BVC, self.spiral, self.linear.weight, self.linear.bias, elu=self.elu)


class Resample(nn.Module):
    """Weighted sum of `k` vertices of one level for each vertex of another."""

    index: Tensor
    value: Tensor

    def __init__(self, table: SampleTable) -> None:
        super().__init__()
        self.register_buffer("index", table.index.long(), persistent=False)
        self.register_buffer("value", table.value.float(), persistent=False)

    def forward(self, x_BVC: Tensor) -> Tensor:
        """[B, V, C] -> [B, W, C]."""
        return ops.resample(x_BVC, self.index, self.value)


class SpiralEncoder(nn.Module):
    """SpiralNet++ encoder of the paper's form: V -> V / 4 -> N' vertices, 3 -> C' -> C' channels, linear at the end."""

    def __init__(self, dim: int, hierarchy: MeshHierarchy) -> None:
        super().__init__()
        self.conv0 = SpiralConv(3, dim, hierarchy.spirals[0])
        self.pool0 = Resample(hierarchy.down[0])
        self.conv1 = SpiralConv(dim, dim, hierarchy.spirals[1])
        self.pool1 = Resample(hierarchy.down[1])
        self.linear = nn.Linear(dim, dim)

    def forward(self, offsets_BV3: Tensor) -> Tensor:
        """Normalised vertex offsets [B, N, 3] -> X'_V [B, N', C']."""
        x = self.pool0(self.conv0(offsets_BV3))
        return self.linear(self.pool1(self.conv1(x)))


class SpiralDecoder(nn.Module):
    """SpiralNet++ decoder of the released form: 314 -> 1256 -> 5023 vertices at one width, and a linear head."""

    def __init__(self, dim: int, hierarchy: MeshHierarchy) -> None:
        super().__init__()
        self.up1 = Resample(hierarchy.up[1])
        self.conv1 = SpiralConv(dim, dim, hierarchy.spirals[1])
        self.up0 = Resample(hierarchy.up[0])
        self.conv0 = SpiralConv(dim, dim, hierarchy.spirals[0])
        self.conv_out = SpiralConv(dim, dim, hierarchy.spirals[0], elu=False)
        self.head = nn.Linear(dim, dim)

    def forward(self, x_BVC: Tensor) -> Tensor:
        """Coarsest level [B, N', C] -> finest level [B, N, C]."""
        x_BVC = self.conv1(self.up1(x_BVC))
        x_BVC = self.conv0(self.up0(x_BVC))
        return self.head(self.conv_out(x_BVC))
