"""Devices, dtypes and graph capture: nothing is left on another device, and the DiT can be exported."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fantasyid_engine.config.schema import NetworkConfig
from fantasyid_engine.models.embedding import Embedded
from fantasyid_engine.models.network import Network
from tests.small import ABLATIONS, PAPER, READS_SHAPE, RELEASED, hierarchy, randomise

FORMS = pytest.mark.parametrize("config", [PAPER, RELEASED], ids=["paper", "released"])
ALL = {"paper": PAPER, "released": RELEASED, "reads shape": READS_SHAPE} | {f"w/o {x}": c for x, c in ABLATIONS.items()}
NETWORKS = pytest.mark.parametrize("config", ALL.values(), ids=ALL)


def request_for(config: NetworkConfig, device: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "picture": (1, 3, 32, 32),
        "text": (2, 6, 24),
        "latents": (2, 3, 4, 12, 8),
        "image": (1, 3, config.dit.image_channels, 12, 8),
    }
    made = {name: torch.randn(shape, generator=generator).to(device, dtype) for name, shape in shapes.items()}
    return made | {
        "vertices": (0.1 * hierarchy().template[None]).to(device),
        "timestep": torch.tensor([5, 900]).to(device),
    }


def render_step(network: Network, inputs: dict[str, Tensor]) -> Tensor:
    id_kv = network.id_kv(inputs["picture"], None if network.config.shape else inputs["vertices"])
    image = inputs["image"] if network.config.dit.image_channels else None
    embedded = network.dit.embed(inputs["text"], 3, 12, 8, image)
    return network.dit(inputs["latents"], inputs["timestep"], embedded, id_kv)


@NETWORKS
@pytest.mark.parametrize("rotary", [True, False])
def test_whole_network_on_one_other_device(config: NetworkConfig, rotary: bool) -> None:
    """On the meta device any table that stayed on the CPU is an error, as it would be on a GPU."""
    config = replace(config, dit=replace(config.dit, use_rotary_positional_embeddings=rotary))
    network = Network(config, hierarchy()).to("meta")
    output = render_step(network, request_for(config, "meta"))
    assert output.device.type == "meta"
    assert output.shape == (2, 3, 4, 12, 8)


@NETWORKS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@torch.inference_mode()
def test_half_precision_is_near_float32(config: NetworkConfig, dtype: torch.dtype) -> None:
    network = Network(config, hierarchy())
    randomise(network)
    expected = render_step(network, request_for(config, "cpu"))
    actual = render_step(network.to_dtype(dtype), request_for(config, "cpu", dtype))
    assert actual.dtype == dtype
    error = (actual.float() - expected).norm() / expected.norm()
    assert error < (3e-2 if dtype == torch.bfloat16 else 4e-3)


@pytest.mark.gpu
@NETWORKS
@torch.inference_mode()
def test_cuda_matches_cpu(config: NetworkConfig) -> None:
    network = Network(config, hierarchy())
    randomise(network)
    expected = render_step(network, request_for(config, "cpu"))
    actual = render_step(network.to("cuda"), request_for(config, "cuda"))
    torch.testing.assert_close(actual.cpu(), expected, rtol=1e-3, atol=1e-4)


class Step(nn.Module):
    """One prediction as a graph of tensors: `Embedded` is a tuple, so it goes in as it is."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.dit = network.dit

    def forward(self, latents: Tensor, timestep: Tensor, embedded: Embedded, id_kv: Tensor) -> Tensor:
        return self.dit(latents, timestep, embedded, id_kv)


@FORMS
@torch.inference_mode()
def test_dit_exports_as_one_graph(config: NetworkConfig) -> None:
    network = Network(config, hierarchy())
    randomise(network)
    inputs = request_for(config, "cpu")
    image = inputs["image"] if config.dit.image_channels else None
    embedded = network.dit.embed(inputs["text"], 3, 12, 8, image)
    id_kv = network.id_kv(inputs["picture"], inputs["vertices"])
    arguments = inputs["latents"], inputs["timestep"], embedded, id_kv
    program = torch.export.export(Step(network), arguments)
    torch.testing.assert_close(program.module()(*arguments), Step(network)(*arguments))
