"""The head of the avatar world as the network's mesh, and what fits a model to its people.

The head is the sphere of `models.icosphere` in another form: the same triangles over the same vertices, in the same
order. Spirals and tables between levels follow from the triangles alone, so the sphere's are the head's, and only the
template differs.

V vertices, n shape directions.
"""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fantasyid_engine.config.schema import MeshConfig
from fantasyid_engine.models.icosphere import icosphere_hierarchy
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.training.avatar.head import SHAPE, make_head
from fantasyid_engine.weights.model import Model

LEVELS = (642, 162, 42)


def avatar_hierarchy(config: MeshConfig) -> MeshHierarchy:
    """The mesh of avatars, with spirals as long as `config` says.

    Raises:
        ValueError: other levels than 642, 162 and 42 vertices.
    """
    if config.levels != LEVELS:
        raise ValueError(f"mesh levels {config.levels}; the head of avatars has {LEVELS}")
    return replace(icosphere_hierarchy(config), template=_template())


def shape_basis() -> Tensor:
    """How one standard deviation of each direction of `head.SHAPE` moves the vertices: [16, V, 3] metres, float32."""
    return torch.tensor(make_head().shape_basis, dtype=torch.float32)


def offset_deviation() -> float:
    """Root of the mean square, over vertices and axes, of how far people are from the template; metres.

    Directions are drawn independently and with deviation 1 (nearly: no draw is beyond 2.2), so the basis says it.
    """
    return float(np.sqrt(np.square(make_head().shape_basis).sum(0).mean()))


def fit_to_avatars(model: Model) -> None:
    """Gives a model of the paper's form, in place, what it must know of avatars before it is trained.

    That is the template and sigma of its vertex net, and the mean and basis of its shape regressor, where it has them:
    offsets of people then enter with unit deviation, and coefficients are in the order of `head.SHAPE`. `model.digests`
    stay as they were.

    Raises:
        ValueError: a model of the released form, on another mesh, or with other shape directions.
    """
    network, template = model.network, _template()
    if network.config.form != "paper":
        raise ValueError(f"{model.name} is of the {network.config.form} form; avatars are for the paper's")
    if not torch.equal(model.hierarchy.template.cpu(), template):
        raise ValueError(f"{model.name} is not on the mesh of avatars; make it on avatar_hierarchy")
    shape = network.shape
    if shape is not None and shape.config.names != SHAPE:
        raise ValueError(f"{model.name} has shape directions {shape.config.names}; avatars have {SHAPE}")
    if network.config.takes_vertices:
        network.conditioner.get_buffer("vertex_net.template").copy_(template)
        network.conditioner.get_buffer("vertex_net.sigma").fill_(offset_deviation())
    if shape is not None:
        shape.mean.copy_(template)
        shape.basis.copy_(shape_basis())


def _template() -> Tensor:
    return torch.tensor(make_head().template, dtype=torch.float32)
