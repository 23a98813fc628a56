"""Configuration around the networks: noise schedule, what a render takes and leaves open, VAE, text encoder."""

from dataclasses import field
from typing import Literal

from fantasyid_engine.config.check import above_zero, all_positive, config, holds, one_of, positive
from fantasyid_engine.config.schema import NetworkConfig

MOST_LAYERS = 1000


@config
class ScheduleConfig:
    """Fields carry the names of diffusers' `scheduler_config.json`; defaults are CogVideoX-5B's image-to-video."""

    num_train_timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012
    prediction_type: Literal["v_prediction", "epsilon"] = "v_prediction"
    rescale_betas_zero_snr: bool = True
    snr_shift_scale: float = 1.0

    def __post_init__(self) -> None:
        positive(self, "num_train_timesteps")
        one_of(self, "prediction_type", ("v_prediction", "epsilon"))
        holds(self, "beta_end", 0 < self.beta_start < self.beta_end < 1, "between beta_start and 1")
        above_zero(self, "snr_shift_scale")
        impossible = self.prediction_type == "epsilon" and self.rescale_betas_zero_snr
        holds(self, "prediction_type", not impossible, "v_prediction where the last timestep is pure noise")


@config
class RenderConfig:
    """How a model makes a video.

    `num_inference_steps` and `guidance_scale` are what a request that names none gets. `face` says what the networks
    see of a photo: `detect` finds the face and crops it as the release does, `avatar` finds the head of a rendered
    avatar, `picture` takes the picture as the crop.
    `crop_size` is the side of the crop in pixels. With `template_vertices` the mesh's template stands in for vertices
    that a request does not bring and the networks do not read off the photo. With `guides_by_photo` the negative pass
    leaves out the photo, not the prompt alone, so that guidance strengthens both; it sees the mesh still. It leaves out
    the DiT's blocks `skip_guidance_layers` too, so that guidance also leads away from what a weaker model draws
    (skip-layer guidance: Hyung et al. 2024). `trained` is False where weights come from a seed: the picture is noise.
    """

    fps: int = 8
    num_inference_steps: int = 50
    guidance_scale: float = 6.0
    solver: Literal["dpm", "ddim"] = "dpm"
    face: Literal["detect", "avatar", "picture"] = "detect"
    crop_size: int = 512
    template_vertices: bool = False
    guides_by_photo: bool = False
    skip_guidance_layers: tuple[int, ...] = ()
    trained: bool = True

    def __post_init__(self) -> None:
        positive(self, "fps", most=240)
        positive(self, "num_inference_steps", most=1000)
        positive(self, "crop_size", most=4096)
        holds(self, "guidance_scale", 1 <= self.guidance_scale <= 100, "a number from 1 to 100")
        one_of(self, "solver", ("dpm", "ddim"))
        one_of(self, "face", ("detect", "avatar", "picture"))
        self.check_layers(MOST_LAYERS)

    def check_layers(self, num_layers: int) -> None:
        """Raises ValueError unless `skip_guidance_layers` are some of that many, but not all."""
        skips = self.skip_guidance_layers
        known = isinstance(skips, tuple) and all(type(layer) is int and 0 <= layer < num_layers for layer in skips)
        fits = known and len(set(skips)) == len(skips) < num_layers
        holds(self, "skip_guidance_layers", fits, f"a tuple of layers from 0 to {num_layers - 1}, each once, not all")


@config
class VaeConfig:
    """The VAE to make anew: diffusers' `AutoencoderKLCogVideoX`, whose names the fields carry.

    Each block but the last halves height and width.
    """

    block_out_channels: tuple[int, ...] = (128, 256, 256, 512)
    latent_channels: int = 16
    layers_per_block: int = 3
    norm_num_groups: int = 32
    temporal_compression_ratio: int = 4
    scaling_factor: float = 0.7

    def __post_init__(self) -> None:
        all_positive(self, "block_out_channels", most=4096)
        positive(
            self, "latent_channels", "layers_per_block", "norm_num_groups", "temporal_compression_ratio", most=4096
        )
        above_zero(self, "scaling_factor")
        groups = self.norm_num_groups
        fits = all(channels % groups == 0 for channels in self.block_out_channels)
        holds(self, "block_out_channels", fits, f"multiples of norm_num_groups ({groups})")


@config
class TextConfig:
    """The text encoder to make anew: a T5 encoder over whatever tokens its tokenizer has."""

    dim: int = 128
    num_layers: int = 2
    num_heads: int = 4
    head_dim: int = 32
    mlp_dim: int = 256

    def __post_init__(self) -> None:
        positive(self, "num_layers", most=1000)
        positive(self, "dim", "num_heads", "head_dim", "mlp_dim")


@config
class ModelConfig:
    """Everything a model is made of; what `weights.untrained` builds and a trainer starts from."""

    network: NetworkConfig
    vae: VaeConfig
    text: TextConfig
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    render: RenderConfig = field(default_factory=RenderConfig)

    def __post_init__(self) -> None:
        dit = self.network.dit
        for name, ours, theirs in (
            ("latent channels", dit.out_channels, self.vae.latent_channels),
            ("temporal compression", dit.temporal_compression_ratio, self.vae.temporal_compression_ratio),
            ("text width", dit.text_embed_dim, self.text.dim),
        ):
            if ours != theirs:
                raise ValueError(f"ModelConfig: {name} of the DiT is {ours}; VAE or text encoder have {theirs}")
        self.render.check_layers(dit.num_layers)
