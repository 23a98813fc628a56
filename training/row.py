"""A trained model as a row of Table 3.

It goes on with what it knows, and what the row changes starts anew:

    w/o FA       a new Q-Former; all else as it is
    w/o FV       the spiral encoder is gone; all else as it is
    w/o LACSI    F_l is gone, a new shared projection gives zero, so that nothing is injected at first
    w/o MFC      the model itself
"""

from dataclasses import replace
from pathlib import Path

import torch

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.conditioner import Conditioner
from fantasyid_engine.models.injection import Injections
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.load import build_on_meta
from fantasyid_engine.weights.model import Model


def as_row(model: Model, config: NetworkConfig, source: Path, seed: int) -> Model:
    """The model with a row's network. Weights that both have are shared with it, not copied.

    Args:
        model: of the paper's form.
        config: what `ablated` makes of the model's own.
        source: where the model came from, for messages.
        seed: of what is new.
    """
    old = model.network
    network, weights = drawn_face(config, model.hierarchy, source, seed), old.state_dict()
    if config.conditioner.abstractor != old.config.conditioner.abstractor:
        weights = {name: value for name, value in weights.items() if not name.startswith("conditioner.abstractor.")}
    network.load_state_dict(weights, strict=False, assign=True)
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
