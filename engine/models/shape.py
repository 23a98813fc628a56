"""Shape regressor: a face's vertices read off its photo, as coefficients of a linear model of heads.

    coefficients = linear(GELU(linear(LN(mean over all tower tokens))))          standard deviations, n of them
    V_s = mean + sum_n coefficients[n] * basis[n]

What DECA is for photographs (its encoder and FLAME's shape basis), in a few layers on the tower: vertices without pose
and expression. `mean` and `basis` are stored with the weights and stay float32, like the vertex net: bfloat16 would put
a vertex off by up to a fifth of a millimetre.

B batch, M tower tokens (CLS first), C tower width, n coefficients, V vertices.
Source: FantasyID paper, section 3.3 (which takes V_s from DECA); the layers are this engine's choice.
"""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import ShapeConfig
from fantasyid_engine.models.float32 import float32_island
from fantasyid_engine.models.mesh import MeshHierarchy


class ShapeRegressor(nn.Module):
    """Hidden state of the tower -> coefficients, and coefficients -> vertices.

    A new one has the mesh's template as its `mean` [V, 3] and no deviations from it: `basis` [n, V, 3] is zero until
    whoever trains it puts a model of heads there. `config.names` says what the coefficients are, in order.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, config: ShapeConfig, in_dim: int, hierarchy: MeshHierarchy) -> None:
        super().__init__()
        self.config = config
        count = len(config.names)
        self.register_buffer("mean", hierarchy.template.float().clone())
        self.register_buffer("basis", torch.zeros(count, *hierarchy.template.shape))
        self.norm = nn.LayerNorm(in_dim)
        self.hidden = nn.Linear(in_dim, config.hidden_dim)
        self.act = nn.GELU()
        self.out = nn.Linear(config.hidden_dim, count)

    def forward(self, features_BMC: Tensor) -> Tensor:
        """Hidden state of the tower [B, 1 + grid^2, C] -> coefficients [B, n], standard deviations, in its dtype."""
        return self.out(self.act(self.hidden(self.norm(features_BMC.mean(1)))))

    def vertices(self, coefficients_Bn: Tensor) -> Tensor:
        """Coefficients [B, n], any float type -> vertices [B, V, 3] in metres, float32, also under autocast."""
        return self.mean + self.displacement(coefficients_Bn)

    def displacement(self, change_Bn: Tensor) -> Tensor:
        """How far a change of the coefficients moves the vertices; sizes and types as in `vertices`."""
        with float32_island(change_Bn.device):
            return torch.tensordot(change_Bn.float(), self.basis, dims=1)
