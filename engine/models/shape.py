"""Shape regressor: a face's vertices read off its photo, as coefficients of a linear model of heads.

    x = linear(LN(patch tokens)), a few channels a token
    coefficients = linear(GELU(linear(all of x, side by side)))          standard deviations, n of them
    V_s = mean + sum_n coefficients[n] * basis[n]

Where something is in the picture says how wide a face is, so tokens keep their places: a mean over them learns next to
nothing in the same time.

What DECA is for photographs (its encoder and FLAME's shape basis), in a few layers on the tower: vertices without pose
and expression. `mean` and `basis` are stored with the weights and stay float32, like the vertex net: bfloat16 would put
a vertex off by up to a fifth of a millimetre.

B batch, M tower tokens (CLS first), C tower width, D channels a token, n coefficients, V vertices.
Source: FantasyID paper, section 3.3 (which takes V_s from DECA); the layers are this engine's choice.
"""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import ShapeConfig, TowerConfig
from fantasyid_engine.models.float32 import float32_island
from fantasyid_engine.models.mesh import MeshHierarchy


class TokenReader(nn.Module):
    """Tokens -> numbers, each read from all tokens in their places."""

    def __init__(self, tokens: int, width: int, token_dim: int, hidden_dim: int, count: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.token = nn.Linear(width, token_dim)
        self.hidden = nn.Linear(tokens * token_dim, hidden_dim)
        self.act = nn.GELU()
        self.out = nn.Linear(hidden_dim, count)

    def forward(self, tokens_BMC: Tensor) -> Tensor:
        """[B, M, C] -> [B, n], in its dtype."""
        x_BMD = self.token(self.norm(tokens_BMC))
        return self.out(self.act(self.hidden(x_BMD.flatten(1))))


class ShapeRegressor(TokenReader):
    """Hidden state of the tower -> coefficients [B, n] in standard deviations, and coefficients -> vertices.

    A new one has the mesh's template as its `mean` [V, 3] and no deviations from it: `basis` [n, V, 3] is zero until
    whoever trains it puts a model of heads there. `config.names` says what the coefficients are, in order.
    """

    mean: Tensor
    basis: Tensor

    def __init__(self, config: ShapeConfig, tower: TowerConfig, hierarchy: MeshHierarchy) -> None:
        super().__init__(tower.grid**2, tower.width, config.token_dim, config.hidden_dim, len(config.names))
        self.config = config
        self.register_buffer("mean", hierarchy.template.float().clone())
        self.register_buffer("basis", torch.zeros(len(config.names), *hierarchy.template.shape))

    def forward(self, tokens_BMC: Tensor) -> Tensor:
        """Hidden state of the tower [B, 1 + grid^2, C] -> coefficients [B, n], in its dtype; CLS is not read."""
        return super().forward(tokens_BMC[:, 1:])

    def vertices(self, coefficients_Bn: Tensor) -> Tensor:
        """Coefficients [B, n], any float type -> vertices [B, V, 3] in metres, float32, also under autocast."""
        return self.mean + self.displacement(coefficients_Bn)

    def displacement(self, change_Bn: Tensor) -> Tensor:
        """How far a change of the coefficients moves the vertices; sizes and types as in `vertices`."""
        with float32_island(change_Bn.device):
            return torch.tensordot(change_Bn.float(), self.basis, dims=1)
