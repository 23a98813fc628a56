"""Small networks of both forms, and meshes, that tests build in milliseconds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file
from scipy.spatial import ConvexHull
from torch import Tensor, nn

from fantasyid_engine.config.schema import (
    AbstractorConfig,
    DiTConfig,
    FusionConfig,
    InjectionConfig,
    MeshConfig,
    NetworkConfig,
    PaperConditionerConfig,
    QFormerConfig,
    ReleasedConditionerConfig,
    ResConvConfig,
    ShapeConfig,
    TowerConfig,
)
from fantasyid_engine.config.serialise import to_json_object
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.mesh_build import build_hierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.released_keys import our_name

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
MESH = MeshConfig(levels=(162, 42, 12), spiral_length=7)
TOWER = TowerConfig(image_size=32, patch_size=4, width=32, num_layers=2, num_heads=2, mlp_dim=44, rope_grid=8)
ABSTRACTOR = AbstractorConfig(in_dim=32, grid=8, hidden_dim=16)
FUSION = FusionConfig(dim=16, num_layers=2, num_heads=2, mlp_dim=32)
DIT = DiTConfig(
    num_layers=3,
    num_attention_heads=2,
    attention_head_dim=16,
    in_channels=8,
    out_channels=4,
    text_embed_dim=24,
    max_text_seq_length=6,
    time_embed_dim=32,
    sample_width=8,
    sample_height=12,
    sample_frames=9,
    rotary_base_grid=(6, 4),
    use_learned_positional_embeddings=False,
)

RELEASED = NetworkConfig(
    tower=TOWER,
    conditioner=ReleasedConditionerConfig(
        abstractor=ABSTRACTOR,
        fusion=FUSION,
        reducer=ResConvConfig(channels=(16, 32), kernels=(5, 3), strides=(4, 2), groups=4),
    ),
    dit=replace(DIT, injection=InjectionConfig(num_heads=2, head_dim=8, id_dim=32)),
    mesh=MESH,
)
INJECTION = InjectionConfig(form="layer_aware", num_heads=2, head_dim=8, id_dim=32)
PAPER = NetworkConfig(
    tower=TOWER,
    conditioner=PaperConditionerConfig(
        abstractor=replace(ABSTRACTOR, num_position_tables=1),
        fusion=FUSION,
        resconv=ResConvConfig(channels=(16, 16, 32, 32), kernels=(3,) * 4, strides=(1,) * 4, groups=4),
    ),
    dit=replace(DIT, in_channels=4, injection=INJECTION),
    mesh=MESH,
)

Q_FORMER = QFormerConfig(in_dim=32, num_queries=4, hidden_dim=16, depth=2, num_heads=2)
ABLATIONS = {
    "face_abstractor": replace(PAPER, conditioner=replace(PAPER.conditioner, abstractor=Q_FORMER)),
    "face_vertices": replace(PAPER, conditioner=replace(PAPER.conditioner, face_vertices=False)),
    "layer_aware_injection": replace(PAPER, dit=replace(PAPER.dit, injection=replace(INJECTION, form="shared"))),
}
"""What the paper's Table 3 leaves out of the network, and the network without it."""
READS_SHAPE = replace(PAPER, shape=ShapeConfig(names=("width", "height", "jaw"), hidden_dim=8))
"""The paper's form with a shape regressor."""


def sphere(count: int) -> tuple[Tensor, Tensor]:
    """A closed mesh of exactly `count` vertices on a unit sphere: vertices [V, 3], faces [F, 3], outward."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    points = np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], axis=1)
    faces = ConvexHull(points).simplices.astype(np.int64)
    a, b, c = (points[faces[:, k]] for k in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return torch.from_numpy(points), torch.from_numpy(np.ascontiguousarray(faces))


def hierarchy(config: MeshConfig = MESH) -> MeshHierarchy:
    return build_hierarchy(*sphere(config.levels[0]), config)


def randomise(network: nn.Module, seed: int = 0) -> None:
    """No weight stays at a special value: zeros and ones would hide what is never used."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim > 1:
            parameter.data = 0.5 * noise / parameter[0].numel() ** 0.5
        else:
            parameter.data = 0.2 * noise + float((parameter == 1).all())


def reads_shape() -> Network:
    """A network with a shape regressor that has directions to go in: some millimetres a unit."""
    network = Network(READS_SHAPE, hierarchy())
    randomise(network)
    assert network.shape is not None
    generator = torch.Generator().manual_seed(5)
    network.shape.mean.copy_(0.1 * hierarchy().template)
    network.shape.basis.copy_(0.005 * torch.randn(network.shape.basis.shape, generator=generator))
    return network.eval()


def authors_keys(config: NetworkConfig) -> list[str]:
    """Live keys of a released-form checkpoint of this size, under the authors' names."""
    kinds = ("weight", "bias")
    keys = [
        *("patch_embed.pos_embedding", "face_abstractor.proj_out", "vertex_spiral_net.vtx_query"),
        *(f"face_abstractor.layers.{n}.0.pos_emb" for n in (8, 9)),
        *("visual.cls_token", "visual.pos_embed"),
        *(f"visual.blocks.{i}.attn.{b}" for i in range(config.tower.num_layers) for b in ("q_bias", "v_bias")),
    ]
    modules = [
        *(f"patch_embed.{m}" for m in ("proj", "text_proj")),
        *(f"time_embedding.linear_{n}" for n in (1, 2)),
        *("norm_final", "norm_out.linear", "norm_out.norm", "proj_out"),
        *(f"face_abstractor.mapping_4.{n}" for n in (0, 1, 3, 4, 6)),
        *(f"face_abstractor.layers.9.0.readout.{n}" for n in (0, 2)),
        *(f"face_abstractor.layers.9.1.{n}" for n in (0, 1, 3)),
        *(f"vertex_spiral_net.vtx_upsampler.de_layers.{m}" for m in ("0.conv.layer", "1.conv.layer", "2.layer")),
        *("vertex_spiral_net.vtx_descriptor_head.0", "visual.patch_embed.proj"),
        *(f"vertex_spiral_net.hw_down.{n}.fc{k}" for n in range(8) for k in (1, 2)),
    ]
    bottleneck = ("conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn", "se.fc1", "se.fc2", "conv3.conv", "conv3.bn")
    for stage in (0, 2):
        for b in range(1, config.conditioner.abstractor.depth + 1):
            for part in (*bottleneck, "downsample.conv", "downsample.bn"):
                modules.append(f"face_abstractor.layers.9.0.net.{stage}.b{b}.{part}")
    for i in range(config.conditioner.fusion.num_layers):
        for part in ("0.norm", "0.fn.to_qkv", "0.fn.to_out.0", "1.norm", "1.fn.net.0", "1.fn.net.3"):
            modules.append(f"vertex_spiral_net.transformer.layers.{i}.{part}")
    for n in range(1, 5):
        for part in ("conv_in.conv1d", "conv_in.group_norm", "conv_out.conv1d", "conv_out.group_norm", "residual_conv"):
            modules.append(f"vertex_reducer.conv_block{n}.{part}")
    for i in range(config.dit.num_layers):
        for part in ("norm1.linear", "norm1.norm", "norm2.linear", "norm2.norm", "ff.net.0.proj", "ff.net.2"):
            modules.append(f"transformer_blocks.{i}.{part}")
        for part in ("norm_q", "norm_k", "to_q", "to_k", "to_v", "to_out.0"):
            modules.append(f"transformer_blocks.{i}.attn1.{part}")
    for i in range(config.dit.num_injections):
        modules += [f"layer_attention.{i}.{part}" for part in ("norm1", "norm2", "to_q", "to_kv", "to_out")]
    for i in range(config.tower.num_layers):
        for part in ("norm1", "norm2", "attn.inner_attn_ln", "attn.proj", "mlp.w1", "mlp.w2", "mlp.w3", "mlp.ffn_ln"):
            modules.append(f"visual.blocks.{i}.{part}")
        modules += [f"visual.blocks.{i}.attn.{x}_proj" for x in "qkv"]
    return keys + [f"{module}.{kind}" for module in modules for kind in kinds]


def authors_state_dict(network: Network) -> dict[str, Tensor]:
    """The weights of a released-form network under the authors' names."""
    state = network.state_dict()
    named = {key: state[name] for key in authors_keys(network.config) if (name := our_name(key)) in state}
    assert len(named) == len(state), set(state) - {our_name(key) for key in named}
    return named


def write_released_folder(network: Network, folder: Path) -> None:
    """A model folder in the authors' layout, with some of their dead tensors."""
    state = authors_state_dict(network)
    tower = {key: value for key, value in state.items() if key.startswith("visual.")}
    rest = {key: value for key, value in state.items() if key not in tower}
    rest |= {
        "face_abstractor.latents": torch.zeros(1, 3, 4),
        "face_abstractor.mapping_2.0.weight": torch.zeros(4, 4),
        "face_abstractor.layers.3.0.pos_emb": torch.zeros(1, 4),
        "face_abstractor.layers.8.1.0.weight": torch.zeros(4),
    }
    last = network.config.tower.num_layers
    tower |= {"visual.head.bias": torch.zeros(2), f"visual.blocks.{last}.norm1.weight": torch.zeros(2)}
    tower |= {"visual.rope.freqs_cos": torch.zeros(2)}
    tower |= {"logit_scale": torch.zeros(()), "text.ln_final.bias": torch.zeros(2)}
    dit = to_json_object(network.config.dit)
    injection = dit.pop("injection")
    del injection["interval"]
    ours = to_json_object(network.config)
    section = {"injection": injection} | {name: ours[name] for name in ("tower", "conditioner", "mesh")}
    for name in ("transformer", "face_encoder"):
        (folder / name).mkdir(parents=True)
    config = {"_class_name": "IDTransformer3DModel", "dropout": 0.0, **dit, "fantasyid": section}
    (folder / "transformer" / "config.json").write_text(json.dumps(config))
    save_file(rest, folder / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file(tower, folder / "face_encoder" / "EVA02_CLIP_L_336_psz14_s6B.safetensors")
    hierarchy(network.config.mesh).save(folder / "face_encoder" / "mesh.safetensors")


def split_into_shards(folder: Path, index: bool) -> list[Path]:
    """Splits the transformer into three shards, as the hub stores them."""
    path = folder / TRANSFORMER
    tensors = load_file(path)
    path.unlink()
    pattern = "diffusion_pytorch_model{suffix}.safetensors"
    size = sum(t.nbytes for t in tensors.values()) // 3 + 20_000
    save_torch_state_dict(tensors, path.parent, filename_pattern=pattern, max_shard_size=size)
    if not index:
        (path.parent / "diffusion_pytorch_model.safetensors.index.json").unlink()
    (folder / "manifest.json").unlink(missing_ok=True)
    return sorted(path.parent.glob("*.safetensors"))
