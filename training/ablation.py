"""The rows of the paper's Table 3, as changes of a network of the paper's form (section 4.4).

face_abstractor         a Q-Former in its place, with as many tokens
face_vertices           no mesh: the 2-D face tokens alone
layer_aware_injection   one shared projection in place of each layer's F_l
multi_view              nothing of the network: one reference picture a clip (`Recipe.views_used`)
"""

from collections.abc import Sequence
from dataclasses import replace

from fantasyid_engine.config.schema import (
    AbstractorConfig,
    NetworkConfig,
    PaperConditionerConfig,
    QFormerConfig,
)
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.training.recipe import ROWS


def ablated(network: NetworkConfig, without: Sequence[str]) -> NetworkConfig:
    """The network without what these rows leave out.

    Raises:
        ConfigError: there is no such row, or the network is not of the paper's form.
    """
    unknown = [row for row in without if row not in ROWS]
    if unknown:
        raise ConfigError(f"there is no row {unknown[0]!r} to be without; there are {', '.join(ROWS)}")
    conditioner, injection = network.conditioner, network.dit.injection
    if not isinstance(conditioner, PaperConditionerConfig) or injection is None:
        raise ConfigError("only a network of the paper's form has what the rows of its Table 3 leave out")
    if "face_abstractor" in without:
        conditioner = replace(conditioner, abstractor=_q_former(conditioner.abstractor))
    if "face_vertices" in without:
        conditioner = replace(conditioner, face_vertices=False)
    if "layer_aware_injection" in without:
        injection = replace(injection, form="shared")
    return replace(network, conditioner=conditioner, dit=replace(network.dit, injection=injection))


def _q_former(abstractor: AbstractorConfig | QFormerConfig) -> QFormerConfig:
    """As many layers, tokens and channels as the abstractor that it stands in for."""
    if isinstance(abstractor, QFormerConfig):
        return abstractor
    return QFormerConfig(
        in_dim=abstractor.in_dim,
        num_queries=abstractor.num_tokens,
        hidden_dim=abstractor.hidden_dim,
        depth=abstractor.depth,
        norm_eps=abstractor.norm_eps,
    )
