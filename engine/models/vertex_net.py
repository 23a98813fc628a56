"""Vertex nets: vertices and 2-D face tokens -> fused features, in float32.

    released   decoder(fusion([query + depth code(z) ; MLP(face tokens)])[: N'])          features of all vertices
    paper      fusion([spiral encoder((V_s - template) / sigma) + E_dep ; MLP(X_f)])[: N']       of the coarse ones
    w/o FV     fusion(MLP(X_f))                                                                  of the 2-D tokens

B batch, T face tokens, C channels, V vertices, N' coarse vertices.
Source: FantasyID paper, sections 3.3, 3.4 and 4.4; github.com/Fantasy-AMAP/fantasy-id @ c429092,
models/vertex_encode.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import FusionConfig, PaperConditionerConfig
from fantasyid_engine.models.depth import depth_code, read_depth, released_depth_code
from fantasyid_engine.models.fusion import FusionTransformer
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.spiral_net import SpiralDecoder, SpiralEncoder


class HalvingMlp(nn.Module):
    """Linear d -> d, exact GELU, linear d -> d / 2."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, dim)
        self.fc2 = nn.Linear(dim, dim // 2)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d / 2]."""
        return self.fc2(F.gelu(self.fc1(x)))


class ReleasedVertexNet(nn.Module):
    """z of the coarse vertices and the face tokens -> features of all vertices."""

    coarse: Tensor

    def __init__(self, id_dim: int, config: FusionConfig, hierarchy: MeshHierarchy) -> None:
        super().__init__()
        self.register_buffer("coarse", hierarchy.coarse_index.long(), persistent=False)
        self.query = nn.Parameter(torch.zeros(1, len(hierarchy.coarse_index), config.dim))
        self.face_mlp = nn.Sequential()
        while id_dim > config.dim:
            self.face_mlp.append(HalvingMlp(id_dim))
            id_dim //= 2
        self.fusion = FusionTransformer(config)
        self.decoder = SpiralDecoder(config.dim, hierarchy)

    def forward(self, face_BTC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """Face tokens [B, T, id_dim] and vertices [B, V, 3] in metres, both float32 -> [B, V, dim]."""
        z_BV = vertices_BV3[:, self.coarse, 2]
        vertex_tokens = self.query + released_depth_code(z_BV, self.query.shape[-1])
        tokens = self.fusion(torch.cat([vertex_tokens, self.face_mlp(face_BTC)], dim=1))
        return self.decoder(tokens[:, : self.query.shape[1]])


def face_mlp(in_dim: int, dim: int) -> nn.Sequential:
    """The paper's MLP from X_f to X_F: linear, exact GELU, linear."""
    return nn.Sequential(nn.Linear(in_dim, dim), nn.GELU(), nn.Linear(dim, dim))


class PaperVertexNet(nn.Module):
    """Vertices and face tokens -> N' fused tokens of width C'.

    `template` and `sigma` normalise the vertices, (V_s - template) / sigma, and are stored with the weights.
    """

    coarse: Tensor
    faces: Tensor
    template: Tensor
    sigma: Tensor

    def __init__(self, in_dim: int, config: PaperConditionerConfig, hierarchy: MeshHierarchy) -> None:
        super().__init__()
        dim = config.fusion.dim
        self.depth_octaves = config.depth_octaves
        self.register_buffer("coarse", hierarchy.coarse_index.long(), persistent=False)
        self.register_buffer("faces", hierarchy.faces.long(), persistent=False)
        self.register_buffer("template", hierarchy.template.float().clone())
        self.register_buffer("sigma", torch.ones(1))
        self.encoder = SpiralEncoder(dim, hierarchy)
        self.face_mlp = face_mlp(in_dim, dim)
        self.fusion = FusionTransformer(config.fusion)

    def forward(self, face_BTC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """Face tokens [B, T, C] and vertices [B, N, 3] in metres, both float32 -> [B, N', C']."""
        vertex_tokens = self.encoder((vertices_BV3 - self.template) / self.sigma)
        depth = read_depth(vertices_BV3, self.faces, self.coarse)
        vertex_tokens = vertex_tokens + depth_code(depth, vertex_tokens.shape[-1], self.depth_octaves)
        tokens = self.fusion(torch.cat([vertex_tokens, self.face_mlp(face_BTC)], dim=1))
        return tokens[:, : len(self.coarse)]


class FaceOnlyNet(nn.Module):
    """The ablation "w/o face vertices": what is left of `PaperVertexNet` without a mesh, its weights named as there."""

    def __init__(self, in_dim: int, config: FusionConfig) -> None:
        super().__init__()
        self.face_mlp = face_mlp(in_dim, config.dim)
        self.fusion = FusionTransformer(config)

    def forward(self, face_BTC: Tensor) -> Tensor:
        """Face tokens [B, T, C] float32 -> [B, T, C']."""
        return self.fusion(self.face_mlp(face_BTC))
