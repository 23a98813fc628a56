"""The goldens' small VAE, rebuilt by its recipe, and their pictures."""

import json
import math

import torch
from diffusers.models.autoencoders.autoencoder_kl_cogvideox import AutoencoderKLCogVideoX
from safetensors import safe_open
from torch import Tensor

from tests.goldens import normal, require_reference


def pipeline() -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the pipeline's golden."""
    with safe_open(require_reference() / "goldens" / "faces" / "pipeline.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in list(file.keys())}, file.metadata()


def golden_vae() -> AutoencoderKLCogVideoX:
    _, metadata = pipeline()
    vae = AutoencoderKLCogVideoX.from_config(
        json.loads(metadata["vae_config"])
        | {
            "down_block_types": ("CogVideoXDownBlock3D",) * 4,
            "up_block_types": ("CogVideoXUpBlock3D",) * 4,
        }
    )
    keys = json.loads(metadata["vae_keys"])
    vae.load_state_dict({key: vae_weight(key, shape) for key, shape in keys.items()})
    return vae.eval()


def vae_weight(key: str, shape: list[int]) -> Tensor:
    noise = normal(f"vae.{key}", *shape)
    if key.endswith(".bias"):
        value = 0.1 * noise
    elif len(shape) == 1:
        value = 1 + 0.2 * noise
    else:
        value = noise / math.sqrt(math.prod(shape[1:]))
    return 0.03 * value if key.startswith(("encoder.conv_in.", "decoder.conv_in.")) else value


def picture(name: str, height: int, width: int) -> Tensor:
    """uint8 [height, width, 3]: random cells of 32 pixels, and noise."""
    cells = normal(f"{name}.cells", -(-height // 32), -(-width // 32), 3)
    cells = cells.repeat_interleave(32, 0).repeat_interleave(32, 1)[:height, :width]
    values = 128.0 + 60.0 * cells + 20.0 * normal(f"{name}.noise", height, width, 3)
    return values.round().clamp(0, 255).to(torch.uint8)
