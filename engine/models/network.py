"""A whole FantasyID network: tower, conditioner and DiT of one form, and a shape regressor where it has one."""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.eva_clip import Tower
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.shape import ShapeRegressor

ISLAND = ("conditioner.vertex_net.", "shape.mean", "shape.basis")
"""How the names of weights begin that stay float32."""


def weight_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """What a weight of a `Network` is stored as in a model of `dtype`; see `ISLAND`."""
    return torch.float32 if name.startswith(ISLAND) else dtype


class Network(nn.Module):
    """The networks side by side, in one state dict: `id_kv` once a face, then `dit` for each step.

    `shape` is None without `config.shape`.
    """

    shape: ShapeRegressor | None

    def __init__(self, config: NetworkConfig, hierarchy: MeshHierarchy) -> None:
        """Random weights on the current default device.

        Raises:
            ValueError: the mesh has other vertex counts or another spiral length than `config.mesh`.
        """
        super().__init__()
        hierarchy.check(config.mesh)
        injection = config.dit.injection
        assert injection is not None, "NetworkConfig refuses this"
        count = config.dit.num_injections
        self.config = config
        self.tower = Tower(config.tower)
        self.conditioner = Conditioner(config.conditioner, injection, count, hierarchy)
        self.dit = DiT(config.dit)
        # Last, so that a seed draws the same weights for the others with it and without.
        self.shape = None if config.shape is None else ShapeRegressor(config.shape, config.tower, hierarchy)

    def id_kv(
        self, image_B3HW: Tensor, vertices_BV3: Tensor | None = None, shape_change_Bn: Tensor | None = None
    ) -> Tensor:
        """Normalised face picture and vertices -> id_kv [I, 2, B, heads, K, d]: `id_tokens`, projected."""
        return self.conditioner.project(self.id_tokens(image_B3HW, vertices_BV3, shape_change_Bn))

    def id_tokens(
        self,
        image_B3HW: Tensor,
        vertices_BV3: Tensor | None = None,
        shape_change_Bn: Tensor | None = None,
        *,
        without_photo: bool = False,
    ) -> Tensor:
        """Normalised face picture and vertices -> ID tokens [B, K, id_dim]; see `Tower` and `Conditioner`.

        Without vertices they are read off the picture, where the network has a shape regressor. `shape_change_Bn`
        [B or 1, n] is added to the coefficients, or moves vertices that are given as it would move those.
        `without_photo` puts the tokens of the same vertices without the photo before them: [2 B, K, id_dim].

        Raises:
            ValueError: see `Tower` and `Conditioner`; no vertices for a network that takes them and cannot read them;
                a change of shape for a network without vertices or regressor.
        """
        features_BMC = self.tower(image_B3HW)
        if vertices_BV3 is None and self.shape is not None:
            vertices_BV3 = self.shape.vertices(self.shape(features_BMC))
        if shape_change_Bn is not None:
            if vertices_BV3 is None or self.shape is None or not self.config.takes_vertices:
                raise ValueError("a change of shape; this network has no shape regressor, or takes no vertices")
            vertices_BV3 = vertices_BV3 + self.shape.displacement(shape_change_Bn)
        tokens_BKC = self.conditioner.id_tokens(features_BMC, vertices_BV3)
        if not without_photo:
            return tokens_BKC
        nobody_B = torch.zeros(len(features_BMC), dtype=torch.bool, device=features_BMC.device)
        return torch.cat([self.conditioner.id_tokens(features_BMC, vertices_BV3, nobody_B), tokens_BKC])

    def to_dtype(self, dtype: torch.dtype) -> "Network":
        """Casts all floating-point weights to `dtype`, except those that stay float32."""
        for name, tensor in [*self.named_parameters(), *self.named_buffers()]:
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(weight_dtype(name, dtype))
        return self
