"""A whole FantasyID network: tower, conditioner and DiT of one form."""

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.eva_clip import Tower
from fantasyid_engine.models.mesh import MeshHierarchy


def weight_dtype(name: str, dtype: torch.dtype) -> torch.dtype:
    """What a weight of a `Network` is stored as in a model of `dtype`: the vertex net stays float32."""
    return torch.float32 if name.startswith("conditioner.vertex_net.") else dtype


class Network(nn.Module):
    """The three networks side by side, in one state dict: `id_kv` once a face, then `dit` for each step."""

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

    def id_kv(self, image_B3HW: Tensor, vertices_BV3: Tensor) -> Tensor:
        """Normalised face picture and vertices -> id_kv [I, 2, B, heads, K, d]; see `Tower` and `Conditioner`."""
        return self.conditioner(self.tower(image_B3HW), vertices_BV3)

    def to_dtype(self, dtype: torch.dtype) -> "Network":
        """Casts all floating-point weights to `dtype`, except those that stay float32."""
        for name, tensor in [*self.named_parameters(), *self.named_buffers()]:
            if tensor.is_floating_point():
                tensor.data = tensor.data.to(weight_dtype(name, dtype))
        return self
