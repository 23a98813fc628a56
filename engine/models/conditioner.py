"""Conditioner: face features and vertices -> keys and values for every injection, once a request.

    released   [face tokens ; reducer(vertex net)] -> K, V a layer
    paper      V_F = ResConv1D(vertex net) -> K, V a layer

The vertex nets run in float32 whatever the model's dtype.

B batch, M tower tokens (CLS first), C tower width, V vertices, K identity tokens, I injections, d channels a head.
Source: FantasyID paper, sections 3.2 to 3.4; github.com/Fantasy-AMAP/fantasy-id @ c429092, models/transformer_id.py.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import ConditionerConfig, InjectionConfig, ReleasedConditionerConfig
from fantasyid_engine.models.face_abstractor import FaceAbstractor, ReleasedFaceAbstractor
from fantasyid_engine.models.fusion import ResConv1D
from fantasyid_engine.models.injection import KeyValue
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.vertex_net import PaperVertexNet, ReleasedVertexNet


class Conditioner(nn.Module):
    """Abstractor, vertex net and residual convolutions of one form, and one K, V projection an injection."""

    def __init__(
        self, config: ConditionerConfig, injection: InjectionConfig, count: int, hierarchy: MeshHierarchy
    ) -> None:
        super().__init__()
        self.num_vertices = hierarchy.levels[0]
        self.keeps_face_tokens = isinstance(config, ReleasedConditionerConfig)
        if isinstance(config, ReleasedConditionerConfig):
            self.abstractor = ReleasedFaceAbstractor(config.abstractor, config.id_dim)
            self.vertex_net = ReleasedVertexNet(config.id_dim, config.fusion, hierarchy)
            self.resconv = ResConv1D(config.fusion.dim, config.reducer)
        else:
            self.abstractor = FaceAbstractor(config.abstractor)
            self.vertex_net = PaperVertexNet(config.abstractor.in_dim, config, hierarchy)
            self.resconv = ResConv1D(config.fusion.dim, config.resconv)
        self.key_values = nn.ModuleList(KeyValue(injection) for _ in range(count))

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
        tokens = self.id_tokens(features_BMC, vertices_BV3)
        return torch.stack([key_value(tokens) for key_value in self.key_values])

    def id_tokens(self, features_BMC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """ID tokens [B, K, id_dim] of a face: of the released form 36 of the face, then 79 of the vertices at its size.

        Arguments and errors as in `forward`.
        """
        if vertices_BV3.shape[1:] != (self.num_vertices, 3) or len(vertices_BV3) not in (1, len(features_BMC)):
            wanted = f"[{len(features_BMC)} or 1, {self.num_vertices}, 3]"
            raise ValueError(f"vertices of shape {tuple(vertices_BV3.shape)}; expected {wanted}")
        face_BTC = self.abstractor(features_BMC[:, 1:])
        vertex_BTC = self.resconv(self.vertex_features(face_BTC, vertices_BV3))
        return torch.cat([face_BTC, vertex_BTC], dim=1) if self.keeps_face_tokens else vertex_BTC

    def vertex_features(self, face_BTC: Tensor, vertices_BV3: Tensor) -> Tensor:
        """The float32 island: vertex net on float32 inputs, also under autocast; result in the face tokens' dtype."""
        vertices_BV3 = vertices_BV3.float().expand(face_BTC.shape[0], -1, -1)
        device = face_BTC.device.type
        with torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext():
            return self.vertex_net(face_BTC.float(), vertices_BV3).to(face_BTC.dtype)
