"""Conditioner: face features and vertices -> keys and values for every injection, once a request.

    released   [face tokens ; reducer(vertex net)] -> K, V a layer
    paper      V_F = ResConv1D(vertex net) -> K, V a layer
    w/o FV     the same on the 2-D tokens alone: no vertices enter, K is the number of face tokens

The vertex nets run in float32 whatever the model's dtype.

B batch, M tower tokens (CLS first), C tower width, V vertices, K identity tokens, I injections, d channels a head.
Source: FantasyID paper, sections 3.2 to 3.4, and 4.4; github.com/Fantasy-AMAP/fantasy-id @ c429092,
models/transformer_id.py.
"""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import (
    ConditionerConfig,
    InjectionConfig,
    PaperAbstractorConfig,
    QFormerConfig,
    ReleasedConditionerConfig,
)
from fantasyid_engine.models.face_abstractor import FaceAbstractor, ReleasedFaceAbstractor
from fantasyid_engine.models.float32 import float32_island
from fantasyid_engine.models.fusion import ResConv1D
from fantasyid_engine.models.injection import KeyValue
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.q_former import QFormer
from fantasyid_engine.models.vertex_net import FaceOnlyNet, PaperVertexNet, ReleasedVertexNet


def paper_abstractor(config: PaperAbstractorConfig) -> FaceAbstractor | QFormer:
    """The face abstractor, or what the ablation "w/o FA" has in its place."""
    return QFormer(config) if isinstance(config, QFormerConfig) else FaceAbstractor(config)


class Conditioner(nn.Module):
    """Abstractor, vertex net and residual convolutions of one form, and one K, V projection an injection."""

    def __init__(
        self, config: ConditionerConfig, injection: InjectionConfig, count: int, hierarchy: MeshHierarchy
    ) -> None:
        super().__init__()
        self.num_vertices = hierarchy.levels[0]
        self.takes_vertices = True
        self.keeps_face_tokens = isinstance(config, ReleasedConditionerConfig)
        if isinstance(config, ReleasedConditionerConfig):
            self.abstractor = ReleasedFaceAbstractor(config.abstractor, config.id_dim)
            self.vertex_net = ReleasedVertexNet(config.id_dim, config.fusion, hierarchy)
            self.resconv = ResConv1D(config.fusion.dim, config.reducer)
        else:
            self.takes_vertices = config.face_vertices
            self.abstractor = paper_abstractor(config.abstractor)
            if config.face_vertices:
                self.vertex_net = PaperVertexNet(config.abstractor.in_dim, config, hierarchy)
            else:
                self.vertex_net = FaceOnlyNet(config.abstractor.in_dim, config.fusion)
            self.resconv = ResConv1D(config.fusion.dim, config.resconv)
        self.key_values = nn.ModuleList(KeyValue(injection) for _ in range(count))

    def forward(self, features_BMC: Tensor, vertices_BV3: Tensor | None, keep_face_B: Tensor | None = None) -> Tensor:
        """Keys and values of a face for every injection.

        Args:
            features_BMC: hidden state of the tower [B, 1 + grid^2, C], CLS first, in the model's dtype.
            vertices_BV3: vertices [B or 1, V, 3] in metres, any float type; the vertex net sees float32. A model that
                takes no vertices does not look at them.
            keep_face_B: bool or number [B]; where it is false or 0, the sample's 2-D face tokens X_f are zero. None
                keeps all. It is for training: the shape of a head can be read off the photo, so a network that always
                has the photo learns to do without the mesh; a part of its samples must have the mesh alone.

        Returns:
            id_kv [I, 2, B, heads, K, d] in the model's dtype: keys, then values, of each injection.

        Raises:
            ValueError: no vertices, vertices of another mesh, or of another batch than the features, for a model that
                takes vertices; a mask of another batch.
        """
        return self.project(self.id_tokens(features_BMC, vertices_BV3, keep_face_B))

    def project(self, tokens_BKC: Tensor) -> Tensor:
        """ID tokens [B, K, id_dim] -> keys and values of every injection, id_kv [I, 2, B, heads, K, d]."""
        return torch.stack([key_value(tokens_BKC) for key_value in self.key_values])

    def id_tokens(self, features_BMC: Tensor, vertices_BV3: Tensor | None, keep_face_B: Tensor | None = None) -> Tensor:
        """ID tokens [B, K, id_dim] of a face: of the released form 36 of the face, then 79 of the vertices at its size.

        Arguments and errors as in `forward`.
        """
        self._check(len(features_BMC), vertices_BV3, keep_face_B)
        face_BTC = self.abstractor(features_BMC[:, 1:])
        if keep_face_B is not None:
            face_BTC = face_BTC.masked_fill(keep_face_B.logical_not()[:, None, None], 0)
        vertex_BTC = self.resconv(self.vertex_features(face_BTC, vertices_BV3))
        return torch.cat([face_BTC, vertex_BTC], dim=1) if self.keeps_face_tokens else vertex_BTC

    def _check(self, batch: int, vertices_BV3: Tensor | None, keep_face_B: Tensor | None) -> None:
        """Shapes only, so that it costs a compiled or exported graph nothing."""
        if self.takes_vertices:
            wanted = f"[{batch} or 1, {self.num_vertices}, 3]"
            if vertices_BV3 is None:
                raise ValueError(f"no vertices; expected {wanted}")
            if vertices_BV3.shape[1:] != (self.num_vertices, 3) or len(vertices_BV3) not in (1, batch):
                raise ValueError(f"vertices of shape {tuple(vertices_BV3.shape)}; expected {wanted}")
        if keep_face_B is not None and tuple(keep_face_B.shape) != (batch,):
            raise ValueError(f"a mask of shape {tuple(keep_face_B.shape)}; expected [{batch}]")

    def vertex_features(self, face_BTC: Tensor, vertices_BV3: Tensor | None) -> Tensor:
        """The float32 island: vertex net on float32 inputs, also under autocast; result in the face tokens' dtype."""
        inputs = [face_BTC.float()]
        if self.takes_vertices and vertices_BV3 is not None:
            inputs.append(vertices_BV3.float().expand(face_BTC.shape[0], -1, -1))
        with float32_island(face_BTC.device):
            return self.vertex_net(*inputs).to(face_BTC.dtype)
