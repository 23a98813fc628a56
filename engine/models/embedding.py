"""Embeddings of timestep, patches and positions.

    timestep   [cos(t w_i), sin(t w_i)], w_i = 10000^(-i / half), then linear, SiLU, linear
    rotary     per head 1/4 of the channels time, 3/8 row, 3/8 column; pairs (2j, 2j+1); theta 10000
    sin-cos    1/4 of the channels time, 3/8 column, 3/8 row, each [sin, cos]

B batch, F latent frames, C channels, H W latent height / width, N video tokens, L text tokens, D width, E time width.
Source: CogVideoX (Yang et al. 2024) as in diffusers' `CogVideoXTransformer3DModel`.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.config.schema import DiTConfig


class Embedded(NamedTuple):
    """What the DiT needs of a request and does not change from step to step.

    `text` [B or 1, L, D]: projected text tokens with their positions. `video` [B or 1, N or 1, D]: everything of the
    video tokens' embedding that does not depend on the noise (image latents, bias, positions; N is 1 where that is the
    bias alone). `cos`, `sin` [N, head_dim]
    float32: the rotary tables, or None. `grid`: tokens as (latent frames, rows, columns).
    """

    text: Tensor
    video: Tensor
    cos: Tensor | None
    sin: Tensor | None
    grid: tuple[int, int, int]


def sinusoid(positions: Tensor, dim: int) -> Tensor:
    """[cos, sin] of `positions` [...] at dim / 2 falling frequencies -> [..., dim] float32."""
    half = dim // 2
    frequencies = torch.exp(-math.log(10000.0) * torch.arange(half, device=positions.device) / half)
    angles = positions.float()[..., None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class TimestepEmbedding(nn.Module):
    """Timestep [B] -> embedding [B, E]; the sinusoid is float32, the two linear layers are in the model's dtype."""

    def __init__(self, dim: int, time_embed_dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.linear_1 = nn.Linear(dim, time_embed_dim)
        self.linear_2 = nn.Linear(time_embed_dim, time_embed_dim)

    def forward(self, timestep_B: Tensor) -> Tensor:
        """Timestep [B], any number type -> [B, E] in the weights' dtype."""
        emb = sinusoid(timestep_B, self.dim).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(emb)))


def crop_of_grid(rows: int, columns: int, base_rows: int, base_columns: int) -> tuple[int, int, int, int]:
    """Largest box of the proportions rows : columns centred in the base grid -> (top, left, height, width)."""
    if rows / columns > base_rows / base_columns:
        height, width = base_rows, round(base_rows / rows * columns)
    else:
        height, width = round(base_columns / columns * rows), base_columns
    return round((base_rows - height) / 2), round((base_columns - width) / 2), height, width


def rotary_factors(grid: tuple[int, int, int], base: tuple[int, int], head_dim: int) -> list[tuple[Tensor, Tensor]]:
    """(cos, sin) [positions, channels] float32 of the three axes time, row, column.

    `grid` is (latent frames, rows, columns) in tokens; rows and columns are stretched into the crop of `base`
    (rows, columns) that has their proportions.
    """
    frames, rows, columns = grid
    top, left, height, width = crop_of_grid(rows, columns, *base)
    positions = (
        torch.arange(frames, dtype=torch.float32),
        torch.linspace(top, (top + height) * (rows - 1) / rows, rows),
        torch.linspace(left, (left + width) * (columns - 1) / columns, columns),
    )
    factors = []
    for position, dim in zip(positions, (head_dim // 4, head_dim // 8 * 3, head_dim // 8 * 3), strict=True):
        frequencies = 1.0 / (10000.0 ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
        angles = torch.outer(position, frequencies).repeat_interleave(2, dim=1)
        factors.append((angles.cos(), angles.sin()))
    return factors


def rotary_tables(grid: tuple[int, int, int], base: tuple[int, int], head_dim: int) -> tuple[Tensor, Tensor]:
    """cos, sin [N, head_dim] float32 of all video tokens in the order (frame, row, column); see `rotary_factors`."""
    factors = rotary_factors(grid, base, head_dim)
    cos, sin = (torch.cat(over_grid(*axes), dim=-1).flatten(0, 2) for axes in zip(*factors, strict=True))
    return cos, sin


def over_grid(time_FC: Tensor, row_HC: Tensor, column_WC: Tensor) -> list[Tensor]:
    """Tables of three axes, each spread over the token grid: three tensors [frames, rows, columns, C of that axis]."""
    sizes = len(time_FC), len(row_HC), len(column_WC)
    axes = time_FC[:, None, None], row_HC[None, :, None], column_WC[None, None]
    return [axis.expand(*sizes, -1) for axis in axes]


def sincos_positions(grid: tuple[int, int, int], dim: int, spatial_scale: float, temporal_scale: float) -> Tensor:
    """Fixed 3-D positions of all video tokens [N, dim] float32, in the order (frame, row, column)."""
    frames, rows, columns = grid

    def axis(length: int, scale: float, width: int) -> Tensor:
        omega = 10000.0 ** -(torch.arange(width // 2, dtype=torch.float64) / (width / 2))
        angles = torch.outer((torch.arange(length, dtype=torch.float32) / scale).double(), omega)
        return torch.cat([angles.sin(), angles.cos()], dim=1)

    time, row, column = over_grid(
        axis(frames, temporal_scale, dim // 4),
        axis(rows, spatial_scale, dim * 3 // 8),
        axis(columns, spatial_scale, dim * 3 // 8),
    )
    return torch.cat([time, column, row], dim=-1).flatten(0, 2).float()


class PatchEmbed(nn.Module):
    """Latents and text to tokens. The convolution is split: noise each step, image latents once a request."""

    pos_embedding: Tensor

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Conv2d(config.in_channels, config.dim, config.patch_size, stride=config.patch_size)
        self.text_proj = nn.Linear(config.text_embed_dim, config.dim)
        if config.use_learned_positional_embeddings:
            tokens = config.max_text_seq_length + math.prod(config.sample_grid)
            self.register_buffer("pos_embedding", torch.zeros(1, tokens, config.dim))

    def embed(self, text_BLC: Tensor, frames: int, height: int, width: int, image_BFCHW: Tensor | None) -> Embedded:
        """See `DiT.embed`."""
        config = self.config
        length = text_BLC.shape[1]
        if length > config.max_text_seq_length:
            raise ValueError(f"{length} text tokens; this model takes at most {config.max_text_seq_length}")
        if min(frames, height, width) < 1 or height % config.patch_size or width % config.patch_size:
            raise ValueError(
                f"latents of {frames}x{height}x{width} (frames, height, width); "
                f"height and width must be multiples of {config.patch_size}, and none 0"
            )
        grid = (frames, height // config.patch_size, width // config.patch_size)

        weight = self.proj.weight
        text_BLD, video_BND = self.text_proj(text_BLC), self._image_tokens(image_BFCHW, (frames, height, width))
        if config.use_learned_positional_embeddings:
            if grid != config.sample_grid:
                raise ValueError(
                    f"latents of {frames}x{height}x{width} (frames, height, width); this model has learned positions "
                    f"for {config.sample_latent_frames}x{config.sample_height}x{config.sample_width} only"
                )
            text_BLD = text_BLD + self.pos_embedding[:, :length].to(weight.dtype)
            video_BND = video_BND + self.pos_embedding[:, config.max_text_seq_length :].to(weight.dtype)
        elif not config.use_rotary_positional_embeddings:
            scales = config.spatial_interpolation_scale, config.temporal_interpolation_scale
            video_BND = video_BND + sincos_positions(grid, config.dim, *scales).to(weight)

        cos = sin = None
        if config.use_rotary_positional_embeddings:
            tables = rotary_tables(grid, config.rotary_base_grid, config.attention_head_dim)
            cos, sin = (table.to(weight.device) for table in tables)
        return Embedded(text_BLD, video_BND, cos, sin, grid)

    def _image_tokens(self, image_BFCHW: Tensor | None, size: tuple[int, int, int]) -> Tensor:
        """The image latents' part of the patch convolution and its bias [B, N, D]; the bias alone for text-to-video."""
        channels, bias = self.config.image_channels, self.proj.bias
        assert bias is not None
        if image_BFCHW is None:
            if channels:
                raise ValueError(f"this model needs image latents of {channels} channels")
            return bias[None, None]
        expected = (size[0], channels, *size[1:])
        if tuple(image_BFCHW.shape[1:]) != expected:
            raise ValueError(f"image latents of {tuple(image_BFCHW.shape[1:])}; expected {expected} (F, C, H, W)")
        return self._tokens(image_BFCHW, self.proj.weight[:, self.config.out_channels :]) + bias

    def forward(self, latents_BFCHW: Tensor, embedded: Embedded) -> Tensor:
        """Noisy latents [B, F, C, H, W] -> video tokens [B, N, D] in the order (frame, row, column)."""
        return self._tokens(latents_BFCHW, self.proj.weight[:, : self.config.out_channels]) + embedded.video

    def _tokens(self, x_BFCHW: Tensor, weight: Tensor) -> Tensor:
        batch = x_BFCHW.shape[0]
        patches = F.conv2d(x_BFCHW.flatten(0, 1), weight, stride=self.config.patch_size)
        return patches.flatten(2).transpose(1, 2).unflatten(0, (batch, -1)).flatten(1, 2)
