"""The MM-DiT of CogVideoX with ID injection: noisy latents, timestep, text and face -> prediction.

    x = patches(latents) + embedded.video;  42 x (block;  every `interval`-th: x <- injection(x, id_kv));
    LayerNorm, adaLN, linear, unpatchify

What depends only on the request (text projection, image latents, positions, the face's keys and values) comes in ready:
`embed` makes the first three, a conditioner the last.

B batch, F latent frames, C channels, H W latent height / width, N video tokens, L text tokens, D width,
E time-embedding width, I injections, K identity tokens.
Source: CogVideoX (Yang et al. 2024), diffusers' `CogVideoXTransformer3DModel`; FantasyID paper, section 3.5.
"""

from collections.abc import Callable, Collection, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import DiTConfig
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.embedding import Embedded, PatchEmbed, TimestepEmbedding
from fantasyid_engine.models.injection import Injections


class FinalModulation(nn.Module):
    """adaLN of the output: LayerNorm, shift and scale from the time embedding, no gate."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.linear = nn.Linear(config.time_embed_dim, 2 * config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)

    def forward(self, x_BND: Tensor, emb_BE: Tensor) -> Tensor:
        """[B, N, D] -> [B, N, D]."""
        shift, scale = self.linear(F.silu(emb_BE))[:, None].chunk(2, dim=-1)
        return self.norm(x_BND) * (1 + scale) + shift


class DiT(nn.Module):
    """The denoiser. Width, depth, positions and injection follow from its config."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.time_embedding = TimestepEmbedding(config.dim, config.time_embed_dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        if config.injection is not None:
            self.injections = Injections(config.num_injections, config.dim, config.injection)
        self.norm_final = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.norm_out = FinalModulation(config)
        self.proj_out = nn.Linear(config.dim, config.patch_size**2 * config.out_channels)

    def embed(
        self, text_BLC: Tensor, frames: int, height: int, width: int, image_BFCHW: Tensor | None = None
    ) -> Embedded:
        """Everything of a request that the steps share, once a request.

        Args:
            text_BLC: text features [1 or B, L, text_embed_dim] in the model's dtype, L <= max_text_seq_length.
            frames: latent frames.
            height: latent height.
            width: latent width.
            image_BFCHW: image latents [1 or B, F, in_channels - out_channels, H, W]; None for text-to-video.

        Returns:
            Text and video embeddings and rotary tables, to be given to every `forward` of the request.

        Raises:
            ValueError: text, image latents or size that this model cannot take.
        """
        return self.patch_embed.embed(text_BLC, frames, height, width, image_BFCHW)

    def forward(
        self,
        latents_BFCHW: Tensor,
        timestep_B: Tensor,
        embedded: Embedded,
        id_kv: Tensor | None = None,
        skips: Collection[int] = (),
    ) -> Tensor:
        """One prediction.

        Args:
            latents_BFCHW: noisy latents [B, F, out_channels, H, W] in the model's dtype.
            timestep_B: timestep of each batch element [B], or of all [1], any number type.
            embedded: what `embed` returned for this request and size.
            id_kv: keys and values of the face [I, 2, 1 or B, heads, K, d]; None runs the DiT without injection.
            skips: blocks that are left out, but not the injections behind them.

        Returns:
            The prediction (v or epsilon, as trained) [B, F, out_channels, H, W].

        Raises:
            ValueError: latents or timesteps of another size or batch than `embedded`, or `id_kv` of another model or
                batch.
        """
        check_inputs(self.config, latents_BFCHW, embedded, id_kv)
        if tuple(timestep_B.shape) not in ((1,), (len(latents_BFCHW),)):
            raise ValueError(f"timesteps of shape {tuple(timestep_B.shape)}; expected [1 or {len(latents_BFCHW)}]")
        emb_BE = self.time_embedding(timestep_B)
        x_BND = self.patch_embed(latents_BFCHW, embedded)
        c_BLD = embedded.text.expand(x_BND.shape[0], -1, -1)

        for i, block in enumerate(self.blocks):
            if i not in skips:
                x_BND, c_BLD = block(x_BND, c_BLD, emb_BE, embedded.cos, embedded.sin)
            if id_kv is not None:
                x_BND = self.injections(i, x_BND, id_kv, embedded.grid)

        x_BND = self.proj_out(self.norm_out(self.norm_final(x_BND), emb_BE))
        return unpatchify(x_BND, embedded.grid, self.config)

    @torch.inference_mode()
    def predictor(
        self, id_kv: Tensor, timesteps: Sequence[int], skips: Collection[int] = ()
    ) -> Callable[[Embedded, Tensor, int], Tensor]:
        """What `embed` returned, latents [B, F, C, H, W] of any dtype and a timestep -> prediction, for one face.

        Args:
            id_kv: keys and values of the face [I, 2, 1 or B, heads, K, d].
            timesteps: those that the render visits.
            skips: see `forward`.
        """
        weight = self.proj_out.weight

        def predict(embedded: Embedded, x_BFCHW: Tensor, t: int) -> Tensor:
            # The latents stay float32 from step to step; the network sees them in its own dtype.
            return self(x_BFCHW.to(weight.dtype), torch.tensor([t], device=weight.device), embedded, id_kv, skips)

        return predict


def check_inputs(config: DiTConfig, latents_BFCHW: Tensor, embedded: Embedded, id_kv: Tensor | None) -> None:
    """Shapes only, so that it costs a compiled or exported graph nothing.

    Raises:
        ValueError: see `DiT.forward`.
    """
    (frames, rows, columns), batch, patch = embedded.grid, len(latents_BFCHW), config.patch_size
    expected = (frames, config.out_channels, rows * patch, columns * patch)
    if tuple(latents_BFCHW.shape[1:]) != expected:
        raise ValueError(f"latents of {tuple(latents_BFCHW.shape[1:])}; embedded for {expected} (F, C, H, W)")
    if len(embedded.text) not in (1, batch) or len(embedded.video) not in (1, batch):
        raise ValueError(f"{batch} latents; embedded for {max(len(embedded.text), len(embedded.video))}")
    if id_kv is None:
        return
    injection = config.injection
    if injection is None:
        raise ValueError("id_kv for a model without injections")
    count, heads, head_dim = config.num_injections, injection.num_heads, injection.head_dim
    fits = (*id_kv.shape[:2], id_kv.shape[3], id_kv.shape[5]) == (count, 2, heads, head_dim)
    if not fits or id_kv.shape[2] not in (1, batch):
        takes = f"[{count}, 2, 1 or {batch}, {heads}, K, {head_dim}]"
        raise ValueError(f"id_kv of {tuple(id_kv.shape)}; this model takes {takes}")


def unpatchify(x_BND: Tensor, grid: tuple[int, int, int], config: DiTConfig) -> Tensor:
    """Video tokens [B, N, patch * patch * C] -> latents [B, F, C, H, W]."""
    frames, rows, columns = grid
    p, channels = config.patch_size, config.out_channels
    x = x_BND.reshape(-1, frames, rows, columns, channels, p, p)
    return x.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, frames, channels, rows * p, columns * p)
