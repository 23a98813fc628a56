"""A model of the paper's form to train, begun from the released one.

    DiT         blocks, text projection, time embedding, norms, output, positions    as released
                patch convolution                       its noise channels: text-to-video from here on
                injections                              new; F_l gives zero, so that nothing is injected at first
    tower, VAE, T5, tokenizer, schedule                 as released
    conditioner C-Abstractor                            as released, its two position tables summed to one
                vertex net, ResConv1D, keys and values  new

A new model is the released DiT that is shown no picture: image latents of zero give the patch convolution its bias
alone. The release was made to be shown one; where the base stays frozen, as recipes have it by default, this is a base
away from what it was trained for.

Widths are the release's; ResConv1D doubles C' block after block up to the DiT's width.
Source: FantasyID paper, sections 3.2 to 3.5.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import (
    NetworkConfig,
    PaperConditionerConfig,
    ReleasedConditionerConfig,
    ResConvConfig,
)
from fantasyid_engine.errors import ConfigError
from fantasyid_engine.models.dit import DiT
from fantasyid_engine.models.face_abstractor import FaceAbstractor, ReleasedFaceAbstractor
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.training.ablation import ablated
from fantasyid_engine.training.row import drawn_face
from fantasyid_engine.weights.folder import describe, model_files
from fantasyid_engine.weights.model import load_model, save_model
from fantasyid_engine.weights.shards import reading

IDENTITY_SIGMA = 0.003
"""Metres that identity moves a vertex, along one axis, from one person to another: the unit of the vertex net's input.
Our choice, for heads of true size such as FLAME's: adults' heads differ in length and breadth by 6 to 7 mm (standard
deviation), each side by half of it. It only sets a scale; the first layer learns what remains."""


def init_from_released(source: Path, out: Path, *, without: Sequence[str] = (), seed: int = 0) -> None:
    """Writes a model folder of our own layout, whole or not at all, in bfloat16 as the release is loaded.

    Args:
        source: the released model's folder, in the authors' layout or our own.
        out: the new folder.
        without: rows of the paper's Table 3; see `ablated`.
        seed: of the weights that start anew.

    Raises:
        ConfigError: the folder is of the paper's form already, `without` names no row, or as `load_model`.
        WeightsError: as `load_model`.
        OutputError: as `save_model`.
    """
    with reading(source):
        released = describe(model_files(source))[0]
    if released.form != "released":
        raise ConfigError(f"{source} is of the paper's form already; train it as it is, or name the released model")
    config = ablated(paper_form(released), without)
    model = load_model(source)
    save_model(replace(model, network=_begun(model.network, config, model.hierarchy, source, seed)), out)


def paper_form(released: NetworkConfig) -> NetworkConfig:
    """The network of the paper's form that has the widths of a released one."""
    conditioner, dit, injection = released.conditioner, released.dit, released.dit.injection
    assert isinstance(conditioner, ReleasedConditionerConfig) and injection is not None, "NetworkConfig refuses others"
    width = conditioner.fusion.dim
    channels = (*(min(width * 2**block, dit.dim) for block in (1, 2, 3)), dit.dim)
    resconv = ResConvConfig(
        channels=channels,
        kernels=(3,) * 4,
        strides=(1,) * 4,
        groups=math.gcd(conditioner.reducer.groups, *channels),
        norm_eps=conditioner.reducer.norm_eps,
    )
    return replace(
        released,
        conditioner=PaperConditionerConfig(
            abstractor=replace(conditioner.abstractor, num_position_tables=1),
            fusion=conditioner.fusion,
            resconv=resconv,
        ),
        dit=replace(
            dit, in_channels=dit.out_channels, injection=replace(injection, form="layer_aware", id_dim=dit.dim)
        ),
    )


def _begun(released: Network, config: NetworkConfig, hierarchy: MeshHierarchy, source: Path, seed: int) -> Network:
    """The network of `config`. What is taken over is shared with `released`, not copied."""
    network = drawn_face(config, hierarchy, source, seed)
    _take_over(network.dit, _without_image(released.dit))
    network.tower = released.tower
    mine, theirs = network.conditioner.abstractor, released.conditioner.abstractor
    if isinstance(mine, FaceAbstractor) and isinstance(theirs, ReleasedFaceAbstractor):
        _take_over(mine, _one_table(theirs.abstractor))
    if config.takes_vertices:
        network.conditioner.get_buffer("vertex_net.sigma").fill_(IDENTITY_SIGMA)
    return network.to_dtype(released.tower.cls_token.dtype).eval().requires_grad_(False)


def _without_image(dit: DiT) -> dict[str, Tensor]:
    """Weights of a DiT but its injections, its patch convolution cut to the noise channels."""
    weights = {name: value for name, value in dit.state_dict().items() if not name.startswith("injections.")}
    patches = weights["patch_embed.proj.weight"]
    return weights | {"patch_embed.proj.weight": patches[:, : dit.config.out_channels].contiguous()}


def _one_table(abstractor: FaceAbstractor) -> dict[str, Tensor]:
    """Weights of a C-Abstractor, its position tables summed in float32."""
    weights = {name: value for name, value in abstractor.state_dict().items() if not name.startswith("positions.")}
    return weights | {"positions.0": torch.stack([table.float() for table in abstractor.positions]).sum(0)}


def _take_over(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Puts tensors themselves in the places of a module's weights; what has none of these names stays as it is."""
    unknown = module.load_state_dict(weights, strict=False, assign=True).unexpected_keys
    assert not unknown, f"weights that the paper's form has no place for: {unknown}"
