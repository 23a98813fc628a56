"""The parts of the released form that the goldens capture, run on a loaded network under the goldens' names."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from fantasyid_engine.models.depth import released_depth_code
from fantasyid_engine.models.network import Network
from tests.goldens import golden, normal

# Relative L2 that reordering float32 justifies, from the goldens' README.
TOLERANCE = {
    "face_abstractor": 8e-6,
    "vertex_spiral_net": 5e-6,
    "vertex_spiral_net.depth_emb": 1e-6,
    "vertex_spiral_net.coarse_vertices": 0.0,
    "vertex_reducer": 4e-6,
    "layer_attention": 5e-6,
    "full_cfg": 2e-5,
    "full_cfg.id_tokens": 6e-6,
}


def tolerance(name: str) -> float:
    return TOLERANCE.get(name, TOLERANCE[name.split(".")[0]])


class Captures:
    """Outputs of submodules during a call."""

    def __init__(self, **modules: nn.Module) -> None:
        self.outputs: dict[str, Tensor | tuple[Tensor, ...]] = {}
        self.hooks = [module.register_forward_hook(self._hook(name)) for name, module in modules.items()]

    def _hook(self, name: str) -> Callable[..., None]:
        def keep(module: nn.Module, args: object, output: Tensor) -> None:
            self.outputs[name] = output

        return keep

    def __enter__(self) -> "Captures":
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def __getitem__(self, name: str) -> Tensor:
        output = self.outputs[name]
        assert isinstance(output, Tensor)
        return output


def dtype_of(network: Network) -> torch.dtype:
    return network.dit.proj_out.weight.dtype


def face_abstractor(network: Network) -> dict[str, Tensor]:
    hidden = normal("input.vit_hidden.4", 2, 577, 1024).to(dtype_of(network))
    return {"face_abstractor.out": network.conditioner.abstractor(hidden[:, 1:])}


def vertex_net(network: Network) -> dict[str, Tensor]:
    net = network.conditioner.vertex_net
    vertices = golden("mesh")["vertices.anne"][None]
    face = normal("input.face_tokens", 1, 36, 2048).to(dtype_of(network)).float()
    with Captures(hw=net.face_mlp, fusion=net.fusion, conv1=net.decoder.conv1) as captured:
        out = net(face, vertices)
    coarse = vertices[:, net.coarse]
    return {
        "vertex_spiral_net.out": out,
        "vertex_spiral_net.coarse_vertices": coarse,
        "vertex_spiral_net.depth_emb": released_depth_code(coarse[..., 2], 128),
        "vertex_spiral_net.hw_down": captured["hw"],
        "vertex_spiral_net.fused_tokens": captured["fusion"],
        "vertex_spiral_net.up0": captured["conv1"],
    }


def vertex_reducer(network: Network) -> dict[str, Tensor]:
    features = normal("input.vertex_features", 1, 128, 5023).to(dtype_of(network))
    with Captures(block3=network.conditioner.resconv.blocks[2]) as captured:
        out = network.conditioner.resconv(features.transpose(1, 2))
    return {"vertex_reducer.out": out.transpose(1, 2), "vertex_reducer.block3": captured["block3"]}


def layer_attention(network: Network) -> dict[str, Tensor]:
    dtype = dtype_of(network)
    tokens = normal("input.id_tokens", 1, 115, 2048).to(dtype)
    hidden = (normal("input.hidden", 2, 48, 3072) * 2 + 0.5).to(dtype)
    id_kv = network.conditioner.key_values[0](tokens)
    return {"layer_attention.0.out": network.dit.injections.layers[0](hidden, id_kv, (3, 4, 4))}


def full(network: Network) -> dict[str, Tensor]:
    """Guidance batch 2, ID batch 1."""
    dtype, dit, conditioner = dtype_of(network), network.dit, network.conditioner
    features = normal("input.vit_hidden.4", 2, 577, 1024)[:1].to(dtype)
    vertices = golden("mesh")["vertices.anne"][None]
    latents = normal("input.latents.3", 2, 3, 32, 8, 8).to(dtype)
    text = normal("input.text", 2, 16, 4096).to(dtype)

    id_tokens = conditioner.id_tokens(features, vertices)
    id_kv = conditioner(features, vertices)
    embedded = dit.embed(text, 3, 8, 8, latents[:, :, 16:])
    stages: dict[str, Tensor] = {}
    layers, blocks = dit.injections.layers, dit.blocks
    with Captures(
        patches=dit.patch_embed,
        temb=dit.time_embedding,
        **{f"inject{i}": layer for i, layer in enumerate(layers)},
        **{f"block{i}": block for i, block in enumerate(blocks)},
    ) as captured:
        stages["out"] = dit(latents[:, :, :16], torch.tensor([801, 801]), embedded, id_kv)
    stages["id_tokens"] = id_tokens
    stages["temb"] = captured["temb"]
    stages["patch_embed"] = torch.cat([embedded.text, captured["patches"]], dim=1)
    for i in range(len(blocks)):
        stages[f"inject{i}"] = captured[f"inject{i}"]
        stages[f"block{i}.hidden"], stages[f"block{i}.text"] = captured.outputs[f"block{i}"]
    return {f"full_cfg.{name}": value for name, value in stages.items()}


PARTS = {
    "face": face_abstractor,
    "vertex": vertex_net,
    "reducer": vertex_reducer,
    "injection": layer_attention,
    "full": full,
}


@torch.inference_mode()
def outputs(network: Network, part: str) -> dict[str, Tensor]:
    return PARTS[part](network)
