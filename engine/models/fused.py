"""The DiT on the kernels: the same computation as `dit.DiT`, for rendering.

    x = patches(latents) + embedded.video;  h = [text ; x]
    each block:   n = norm_modulate(h);  q, k, v = qk_norm_rope(W_qkv n)
                  h, n = gate_residual_norm_modulate(h, W_o attention(q, k, v))
                  h = gate_residual(h, feed-forward(n));  id_injection(h's video, face), every `interval`-th
    LayerNorm, adaLN, linear, unpatchify

Text and video stay one tensor. What depends only on the timestep, the adaLN of every layer, is computed for all steps
of a render before the first (794 M parameters at 5B, which then leave the GPU); what depends only on the face is folded
into the injections' weights where that pays.

B batch, F latent frames, T text then video tokens, L text tokens, N video tokens, D width, S timesteps, M modulations,
K identity tokens. Ground truth: `dit.DiT`.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.kernels import ops
from fantasyid_engine.kernels.id_injection import (
    Folded,
    fold,
    id_injection,
)
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.dit import DiT, check_inputs, unpatchify
from fantasyid_engine.models.embedding import Embedded

Face = Sequence[Tensor | Folded]
"""What each injection attends to: keys and values, or both folded into its weights."""


class Tables(NamedTuple):
    """adaLN of a render's timesteps: of the blocks [S, M, 6, D], two a block, and of the output [S, 2, D]."""

    timesteps: tuple[int, ...]
    blocks: Tensor
    final: Tensor


class Modulation(NamedTuple):
    """A layer's adaLN, put by on the CPU: it is wanted once a schedule."""

    weight: Tensor
    bias: Tensor

    def of(self, emb_SE: Tensor) -> Tensor:
        """Time embeddings [S, E] -> [S, 6 D], or [S, 2 D] for the output, where they are."""
        return F.linear(emb_SE, self.weight.to(emb_SE.device), self.bias.to(emb_SE.device))


class FusedBlock(nn.Module):
    """A block's weights, its three projections as one."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        attn = block.attn
        self.num_heads = attn.num_heads
        self.attn_norm, self.ff_norm = block.attn_mod.norm, block.ff_mod.norm
        self.to_qkv = _joined([attn.to_q, attn.to_k, attn.to_v])
        self.norm_q, self.norm_k, self.to_out = attn.norm_q, attn.norm_k, attn.to_out
        self.up, self.down = block.ff.up, block.ff.down

    def attention(self, n_BTD: Tensor, embedded: Embedded) -> Tensor:
        """Joint self-attention of modulated tokens [B, T, D], projected back."""
        qkv = self.to_qkv(n_BTD)
        q, k = ops.qk_norm_rope(
            qkv,
            self.num_heads,
            (self.norm_q.weight, self.norm_q.bias),
            (self.norm_k.weight, self.norm_k.bias),
            embedded.cos,
            embedded.sin,
            self.norm_q.eps,
        )
        v = qkv.unflatten(-1, (3, self.num_heads, -1))[:, :, 2].transpose(1, 2)
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def feed_forward(self, n_BTD: Tensor) -> Tensor:
        """Modulated tokens [B, T, D] -> the same."""
        return self.down(ops.linear_gelu(n_BTD, self.up.weight, self.up.bias))


class FusedDiT(nn.Module):
    """Takes over the weights of a `DiT` on the device where they lie."""

    def __init__(self, dit: DiT, *, folds: bool = False) -> None:
        """Takes a DiT's weights.

        Args:
            dit: what to take over; it cannot compute afterwards.
            folds: whether faces are folded into the injections' weights, which takes memory of each.

        Raises:
            ValueError: a DiT without injections.
        """
        super().__init__()
        injection = dit.config.injection
        if injection is None:
            raise ValueError("a DiT without injections has no face to render")
        self._injection = injection
        self.config = dit.config
        self.patch_embed, self.time_embedding = dit.patch_embed, dit.time_embedding
        self.norm_final, self.norm_out, self.proj_out = dit.norm_final, dit.norm_out.norm, dit.proj_out
        self.blocks = nn.ModuleList()
        self._modulations: list[Modulation] = []
        for block in dit.blocks:
            assert isinstance(block, Block)
            self._modulations += [_put_by(block.attn_mod.linear), _put_by(block.ff_mod.linear)]
            self.blocks.append(FusedBlock(block))
        self._final_modulation = _put_by(dit.norm_out.linear)
        self._sublayers = dit.injections.sublayers()
        self._tables: Tables | None = None
        self._folds = folds
        del dit.blocks, dit.injections

    def _apply(self, fn: Any, recurse: bool = True) -> "FusedDiT":
        raise RuntimeError("a FusedDiT stays where its weights were, and as they were; fuse a DiT that was moved")

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return self.proj_out.weight.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.proj_out.weight.device

    def embed(
        self, text_BLC: Tensor, frames: int, height: int, width: int, image_BFCHW: Tensor | None = None
    ) -> Embedded:
        """See `DiT.embed`."""
        return self.patch_embed.embed(text_BLC, frames, height, width, image_BFCHW)

    @torch.inference_mode()
    def predictor(self, embedded: Embedded, id_kv: Tensor, timesteps: Sequence[int]) -> Callable[[Tensor, int], Tensor]:
        """See `DiT.predictor`."""
        tables, face = self.tables(timesteps), self.face(id_kv)
        places = {t: place for place, t in enumerate(tables.timesteps)}

        def predict(x_BFCHW: Tensor, t: int) -> Tensor:
            check_inputs(self.config, x_BFCHW, embedded, id_kv)
            place = places[t]
            return self(x_BFCHW.to(self.dtype), tables.blocks[place], tables.final[place], embedded, face)

        return predict

    def tables(self, timesteps: Sequence[int]) -> Tables:
        """AdaLN of these timesteps; those of the last schedule are kept."""
        kept = self._tables
        if kept is None or kept.timesteps != tuple(timesteps):
            t_S = torch.tensor(timesteps, device=self.device)
            emb_SE = F.silu(self.time_embedding(t_S))
            blocks = emb_SE.new_empty(len(emb_SE), len(self._modulations), 6, self.config.dim)
            for place, modulation in enumerate(self._modulations):
                blocks[:, place] = modulation.of(emb_SE).unflatten(-1, (6, -1))
            final = self._final_modulation.of(emb_SE).unflatten(-1, (2, -1))
            kept = self._tables = Tables(tuple(timesteps), blocks, final)
        return kept

    def face(self, id_kv: Tensor) -> Face:
        """A face [I, 2, 1 or B, heads, K, d] for the injections, folded where this DiT folds."""
        if not self._folds:
            return tuple(id_kv)
        return tuple(fold(layer, kv) for layer, kv in zip(self._sublayers, id_kv, strict=True))

    def forward(
        self, latents_BFCHW: Tensor, modulations_M6D: Tensor, final_2D: Tensor, embedded: Embedded, face: Face
    ) -> Tensor:
        """One prediction; see `DiT.forward`.

        Args:
            latents_BFCHW: noisy latents [B, F, out_channels, H, W] in the model's dtype.
            modulations_M6D: adaLN of one timestep, two a block.
            final_2D: of the output.
            embedded: what `embed` returned.
            face: what `face` returned.
        """
        x_BND = self.patch_embed(latents_BFCHW, embedded)
        length = embedded.text.shape[1]
        h_BTD = torch.cat([embedded.text.expand(len(x_BND), -1, -1), x_BND], dim=1)
        blocks = [block for block in self.blocks if isinstance(block, FusedBlock)]
        mods = modulations_M6D[:, None].unbind(0)

        n_BTD = _norm(h_BTD, blocks[0].attn_norm, mods[0], length)
        for i, (block, after) in enumerate(pairwise([*blocks, None])):
            assert block is not None
            attn_mod, ff_mod = mods[2 * i], mods[2 * i + 1]
            h_BTD, n_BTD = _add_norm(h_BTD, block.attention(n_BTD, embedded), attn_mod, block.ff_norm, ff_mod, length)
            d_BTD = block.feed_forward(n_BTD)
            turn, rest = divmod(i, self._injection.interval)
            if rest and after is not None:
                h_BTD, n_BTD = _add_norm(h_BTD, d_BTD, ff_mod, after.attn_norm, mods[2 * i + 2], length)
                continue
            h_BTD, stats_BT2 = ops.gate_residual(h_BTD, d_BTD, ff_mod, length, self._injection.norm_eps)
            if not rest:
                layer, video = self._sublayers[turn], slice(length, None)
                stats_BN2 = None if layer.norm is None else stats_BT2[:, video]
                id_injection(h_BTD[:, video], stats_BN2, layer, face[turn], embedded.grid)
            if after is not None:
                n_BTD = _norm(h_BTD, after.attn_norm, mods[2 * i + 2], length)

        shift, scale = final_2D
        x_BND = self.norm_out(self.norm_final(h_BTD[:, length:])) * (1 + scale) + shift
        return unpatchify(self.proj_out(x_BND), embedded.grid, self.config)


def _norm(h_BTD: Tensor, norm: nn.LayerNorm, modulation: Tensor, length: int) -> Tensor:
    return ops.norm_modulate(h_BTD, norm.weight, norm.bias, modulation, length, norm.eps)


def _add_norm(
    h_BTD: Tensor, d_BTD: Tensor, gates: Tensor, norm: nn.LayerNorm, modulation: Tensor, length: int
) -> tuple[Tensor, Tensor]:
    return ops.gate_residual_norm_modulate(h_BTD, d_BTD, gates, norm.weight, norm.bias, modulation, length, norm.eps)


def _put_by(linear: nn.Linear) -> Modulation:
    return Modulation(linear.weight.detach().cpu(), linear.bias.detach().cpu())


def _joined(linears: Sequence[nn.Linear]) -> nn.Linear:
    """Linear layers side by side, as one; theirs become views of its weights."""
    weight = torch.cat([linear.weight.detach() for linear in linears])
    joined = nn.Linear(weight.shape[1], len(weight), device="meta")
    joined.weight = nn.Parameter(weight, requires_grad=False)
    joined.bias = nn.Parameter(torch.cat([linear.bias.detach() for linear in linears]), requires_grad=False)
    for linear, part in zip(linears, weight.split([len(linear.weight) for linear in linears]), strict=True):
        linear.weight = nn.Parameter(part, requires_grad=False)
    return joined
