"""Conditioners: face features and vertices -> keys and values for every injection, once a request.

    released   [face tokens ; reducer(decoder(fusion(query + depth code, face tokens)))] -> K, V a layer
    paper      V_F = ResConv1D(fusion([spiral encoder(vertices) + E_dep ; MLP(X_f)])[: N']) -> K, V a layer

The vertex nets run in float32 whatever the model's dtype.

B batch, M tower tokens (CLS first), C tower width, V vertices, K identity tokens, I injections, d channels a head.
Source: PAPER sections 3.2 to 3.4; github.com/Fantasy-AMAP/fantasy-id @ c429092, models/vertex_encode.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import (
    FusionConfig,
    InjectionConfig,
    PaperConditionerConfig,
    ReleasedConditionerConfig,
)
from fantasyid_engine.models.depth import depth_code, read_depth, released_depth_code
from fantasyid_engine.models.face_abstractor import FaceAbstractor, ReleasedFaceAbstractor
from fantasyid_engine.models.fusion import FusionTransformer, ResConv1D
from fantasyid_engine.models.injection import KeyValue
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
        self.face_mlp = nn.Sequential(nn.Linear(in_dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.fusion = FusionTransformer(config.fusion)

    def forward(self, face_BTC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """Face tokens [B, T, C] and vertices [B, N, 3] in metres, both float32 -> [B, N', C']."""
        vertex_tokens = self.encoder((vertices_BV3 - self.template) / self.sigma)
        depth = read_depth(vertices_BV3, self.faces, self.coarse)
        vertex_tokens = vertex_tokens + depth_code(depth, vertex_tokens.shape[-1], self.depth_octaves)
        tokens = self.fusion(torch.cat([vertex_tokens, self.face_mlp(face_BTC)], dim=1))
        return tokens[:, : len(self.coarse)]


class Conditioner(nn.Module):
    """What both forms share: the order of the stages, and one K, V projection a layer.

    A form says how its ID tokens come from face tokens and fused vertex features (`id_tokens`).
    """

    abstractor: nn.Module
    vertex_net: nn.Module
    resconv: ResConv1D
    key_values: nn.ModuleList

    def __init__(self, num_vertices: int) -> None:
        super().__init__()
        self.num_vertices = num_vertices

    def id_tokens(self, features_BMC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """ID tokens [B, K, id_dim] of a face; arguments as in `forward`."""
        raise NotImplementedError

    def forward(self, features_BMC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """Keys and values of a face for every injection.

        Args:
            features_BMC: hidden state of the tower [B, 1 + grid^2, C], CLS first, in the model's dtype.
            vertices_BV3: vertices [B or 1, V, 3] in metres, any float type; the vertex net sees float32.

        Returns:
            id_kv [I, 2, B, heads, K, d] in the model's dtype: keys, then values, of each injection.

        Raises:
            ValueError: vertices of another mesh, or of another batch than the features.
        """
        if vertices_BV3.shape[1:] != (self.num_vertices, 3) or len(vertices_BV3) not in (1, len(features_BMC)):
            raise ValueError(
                f"vertices of shape {tuple(vertices_BV3.shape)}; expected [B or 1, {self.num_vertices}, 3]"
            )
        tokens = self.id_tokens(features_BMC, vertices_BV3)
        return torch.stack([key_value(tokens) for key_value in self.key_values])

    def _vertex_features(self, face_BTC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """The float32 island: vertex net on float32 inputs, also under autocast; result in the face tokens' dtype."""
        vertices_BV3 = vertices_BV3.float().expand(face_BTC.shape[0], -1, -1)
        with torch.autocast(face_BTC.device.type, enabled=False):
            return self.vertex_net(face_BTC.float(), vertices_BV3).to(face_BTC.dtype)


class ReleasedConditioner(Conditioner):
    """36 face tokens and 79 vertex tokens at the released size."""

    def __init__(
        self, config: ReleasedConditionerConfig, injection: InjectionConfig, count: int, hierarchy: MeshHierarchy
    ) -> None:
        super().__init__(hierarchy.levels[0])
        self.abstractor = ReleasedFaceAbstractor(config.abstractor, config.id_dim)
        self.vertex_net = ReleasedVertexNet(config.id_dim, config.fusion, hierarchy)
        self.resconv = ResConv1D(config.fusion.dim, config.reducer)
        self.key_values = nn.ModuleList(KeyValue(injection) for _ in range(count))

    def id_tokens(self, features_BMC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """See `Conditioner.id_tokens`; K = face tokens, then reduced vertex tokens."""
        face_BTC = self.abstractor(features_BMC[:, 1:])
        vertex_BTC = self.resconv(self._vertex_features(face_BTC, vertices_BV3))
        return torch.cat([face_BTC, vertex_BTC], dim=1)


class PaperConditioner(Conditioner):
    """N' tokens: the paper's ID descriptor V_F."""

    def __init__(
        self, config: PaperConditionerConfig, injection: InjectionConfig, count: int, hierarchy: MeshHierarchy
    ) -> None:
        super().__init__(hierarchy.levels[0])
        self.abstractor = FaceAbstractor(config.abstractor)
        self.vertex_net = PaperVertexNet(config.abstractor.in_dim, config, hierarchy)
        self.resconv = ResConv1D(config.fusion.dim, config.resconv)
        self.key_values = nn.ModuleList(KeyValue(injection) for _ in range(count))

    def id_tokens(self, features_BMC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """See `Conditioner.id_tokens`; K = N'."""
        face_BTC = self.abstractor(features_BMC[:, 1:])
        return self.resconv(self._vertex_features(face_BTC, vertices_BV3))
