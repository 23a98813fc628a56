"""A trained model whose face modules start anew: what the rows of Table 3 have in common.

It knows what people look like and do, and of nobody in particular:

    DiT          blocks, norms, output, positions    as they are
                 injections                          new; F_l gives zero, so that nothing is injected at first
    tower, shape regressor, VAE, text encoder        as they are
    conditioner                                      new, but for the unit that vertices' offsets are measured in
"""

from dataclasses import replace
from pathlib import Path

import torch

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.injection import Injections
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.load import build_on_meta
from fantasyid_engine.weights.model import Model

SIGMA = "vertex_net.sigma"


def with_new_face(model: Model, config: NetworkConfig, source: Path, seed: int) -> Model:
    """The model with conditioner and injections of `config`, drawn from `seed`; all else is shared with it, not copied.

    Args:
        model: of the paper's form; with vertices, where `config` takes them.
        config: the model's own, but for conditioner and injections.
        source: where the model came from, for messages.
        seed: of what is new.

    Raises:
        ConfigError: something else of `config` is other than the model's, or it takes vertices and the model does not.
    """
    old = model.network
    if _without_face(config) != _without_face(old.config):
        raise ConfigError(f"{source} differs from this recipe's network in more than its face modules")
    if config.takes_vertices and not old.config.takes_vertices:
        raise ConfigError(f"{source} knows of no vertices, and this recipe takes them; begin with a model that does")
    network = drawn_face(config, model.hierarchy, source, seed)
    network.tower, network.shape = old.tower, old.shape
    weights = {name: value for name, value in old.dit.state_dict().items() if not name.startswith("injections.")}
    network.dit.load_state_dict(weights, strict=False, assign=True)
    if config.takes_vertices:
        network.conditioner.get_buffer(SIGMA).copy_(old.conditioner.get_buffer(SIGMA))
    return replace(model, network=network.to_dtype(old.tower.cls_token.dtype).eval().requires_grad_(False))


def drawn_face(config: NetworkConfig, hierarchy: MeshHierarchy, source: Path, seed: int) -> Network:
    """A network whose conditioner and injections are drawn from `seed`; all else waits on the meta device."""
    network, injection = build_on_meta(config, hierarchy, source), config.dit.injection
    assert injection is not None, "NetworkConfig refuses this"
    count = config.dit.num_injections
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network.conditioner = Conditioner(config.conditioner, injection, count, hierarchy)
        network.dit.injections = Injections(count, config.dit.dim, injection)
    return network


def _without_face(config: NetworkConfig) -> object:
    return config.tower, config.shape, config.mesh, replace(config.dit, injection=None)
