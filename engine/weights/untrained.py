"""A model made from a seed: what a trainer starts from."""

import hashlib
from dataclasses import asdict

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from torch import nn
from transformers import ByT5Tokenizer, PreTrainedTokenizerBase, T5Config, T5EncoderModel

from fantasyid_engine.config.render import ModelConfig, TextConfig, VaeConfig
from fantasyid_engine.models.icosphere import icosphere_hierarchy
from fantasyid_engine.models.mesh import MeshHierarchy
from fantasyid_engine.models.network import Network
from fantasyid_engine.weights.model import Model


def untrained_model(
    name: str,
    config: ModelConfig,
    *,
    seed: int = 0,
    hierarchy: MeshHierarchy | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> Model:
    """The model that `config` describes, float32 on the CPU.

    Args:
        name: what it is called.
        config: what it is.
        seed: of its weights.
        hierarchy: its mesh; None takes a subdivided sphere.
        tokenizer: what its text encoder reads; None takes bytes (ByT5's, which needs no vocabulary).

    Raises:
        ValueError: a hierarchy of other sizes than `config.network.mesh`; without one, sizes that no subdivision gives.
    """
    hierarchy, tokenizer = hierarchy or icosphere_hierarchy(config.network.mesh), tokenizer or ByT5Tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reach the GPUs' too
        network = Network(config.network, hierarchy)
        vae = make_vae(config.vae)
        text_encoder = make_text_encoder(config.text, len(tokenizer))
    parts: dict[str, nn.Module] = {"network": network, "vae": vae, "text_encoder": text_encoder}
    for part in parts.values():
        part.eval().requires_grad_(False)
    return Model(
        name=name,
        network=network,
        hierarchy=hierarchy,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        vae=vae,
        schedule=config.schedule,
        render=config.render,
        digests={part: weights_digest(module) for part, module in parts.items()},
    )


def make_vae(config: VaeConfig) -> AutoencoderKLCogVideoX:
    """Diffusers' VAE with random weights."""
    blocks = len(config.block_out_channels)
    types = {"down_block_types": ("CogVideoXDownBlock3D",) * blocks, "up_block_types": ("CogVideoXUpBlock3D",) * blocks}
    made = AutoencoderKLCogVideoX.from_config(asdict(config) | types)
    assert isinstance(made, AutoencoderKLCogVideoX)
    return made


def make_text_encoder(config: TextConfig, vocab_size: int) -> T5EncoderModel:
    """Transformers' T5 encoder with random weights."""
    return T5EncoderModel(
        T5Config(
            vocab_size=vocab_size,
            d_model=config.dim,
            d_kv=config.head_dim,
            d_ff=config.mlp_dim,
            num_layers=config.num_layers,
            num_heads=config.num_heads,
            feed_forward_proj="gated-gelu",
        )
    )


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names and values of a module's weights."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + b"\0")
        digest.update(value.cpu().reshape(-1).view(torch.uint8).numpy().tobytes())  # NumPy has no bfloat16
    return digest.hexdigest()
