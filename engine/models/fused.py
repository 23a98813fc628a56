"""The DiT on the kernels: the same computation as `dit.DiT`, for rendering.

    x = patches(latents) + embedded.video;  h = [text ; x]
    each block:   q, k, v = qk_norm_rope(W_qkv norm_modulate(h));  h += gate (W_o attention(q, k, v))
                  h += gate (W_down gelu(W_up norm_modulate(h)))
                  id_injection(h's video, face), every `interval`-th
    LayerNorm, adaLN, linear, unpatchify

Text and video stay one tensor, which every block changes in place: a gated residual is the end of the product before
it. Such a product has no room for its bias, so the video lies without: what is missing is the sum of gate times bias so
far, one vector a timestep and place, which readers add.

What depends only on the timestep, the adaLN of every layer and what is missing, is computed for all steps of a render
before the first (794 M parameters at 5B, which then leave the GPU); what depends only on the face is folded into the
injections' weights where that pays.

B batch, F latent frames, T text then video tokens, L text tokens, N video tokens, D width, S timesteps, M modulations,
K identity tokens, C columns of a head. Ground truth: `dit.DiT`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fantasyid_engine.kernels import ops
from fantasyid_engine.kernels.id_injection import Folded, Missing, columns_of, fold, id_injection
from fantasyid_engine.models.block import Block
from fantasyid_engine.models.dit import DiT, check_inputs, unpatchify
from fantasyid_engine.models.embedding import Embedded

Face = Sequence[Tensor | Folded]
"""What each injection attends to: keys and values, or both folded into its weights."""


class Tables(NamedTuple):
    """Of a render's timesteps: adaLN of the blocks [S, M, 6, D], two a block, and of the output [S, 2, D]."""

    timesteps: tuple[int, ...]
    blocks: Tensor
    final: Tensor


class Step(NamedTuple):
    """`Tables` of one timestep, and what the video misses.

    `missing` [M + 1, D], at least float32: what the video lies without before each of M products, and behind all;
    `columns`: of each injection what its queries or logits miss [1 or B, heads * C].
    """

    modulations: Tensor
    final: Tensor
    missing: Tensor
    columns: tuple[Tensor, ...]


class Modulation(NamedTuple):
    """A layer's adaLN, put by on the CPU: it is wanted once a schedule."""

    weight: Tensor
    bias: Tensor

    def of(self, emb_SE: Tensor) -> Tensor:
        """Time embeddings [S, E] -> [S, 6 D], or [S, 2 D] for the output, where they are."""
        return F.linear(emb_SE, self.weight.to(emb_SE.device), self.bias.to(emb_SE.device))


class FusedBlock(nn.Module):
    """A block's weights, its three projections as one; it changes tokens h [B, T, D] in place."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        attn = block.attn
        self.num_heads = attn.num_heads
        self.attn_norm, self.ff_norm = block.attn_mod.norm, block.ff_mod.norm
        self.to_qkv = _joined([attn.to_q, attn.to_k, attn.to_v])
        self.norm_q, self.norm_k, self.to_out = attn.norm_q, attn.norm_k, attn.to_out
        self.up, self.down = block.ff.up, block.ff.down

    def attend_(self, h_BTD: Tensor, missing_D: Tensor, modulation: Tensor, length: int, embedded: Embedded) -> None:
        """Adds gated joint self-attention to the tokens, but for the video's bias."""
        n_BTD = ops.norm_modulate(h_BTD, missing_D, *_affine(self.attn_norm), modulation, length, self.attn_norm.eps)
        made = self._attention(n_BTD, embedded)
        ops.gated_linear_(h_BTD, made, *_affine(self.to_out), modulation, length)

    def feed_(self, h_BTD: Tensor, missing_D: Tensor, modulation: Tensor, length: int) -> None:
        """Adds the gated feed-forward to the tokens, but for the video's bias."""
        n_BTD = ops.norm_modulate(h_BTD, missing_D, *_affine(self.ff_norm), modulation, length, self.ff_norm.eps)
        made = ops.linear_gelu(n_BTD, *_affine(self.up))
        ops.gated_linear_(h_BTD, made, *_affine(self.down), modulation, length)

    def _attention(self, n_BTD: Tensor, embedded: Embedded) -> Tensor:
        qkv = self.to_qkv(n_BTD)
        q, k = ops.qk_norm_rope(
            qkv,
            self.num_heads,
            _affine(self.norm_q),
            _affine(self.norm_k),
            embedded.cos,
            embedded.sin,
            self.norm_q.eps,
        )
        v = qkv.unflatten(-1, (3, self.num_heads, -1))[:, :, 2].transpose(1, 2)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


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
    def predictor(
        self, id_kv: Tensor, timesteps: Sequence[int], skips: Collection[int] = ()
    ) -> Callable[[Embedded, Tensor, int], Tensor]:
        """See `DiT.predictor`."""
        face = self.face(id_kv)
        steps = dict(zip(timesteps, self.steps(timesteps, face, skips), strict=True))

        def predict(embedded: Embedded, x_BFCHW: Tensor, t: int) -> Tensor:
            check_inputs(self.config, x_BFCHW, embedded, id_kv)
            return self(x_BFCHW.to(self.dtype), steps[t], embedded, face, skips)

        return predict

    def steps(self, timesteps: Sequence[int], face: Face, skips: Collection[int] = ()) -> list[Step]:
        """What each of these timesteps brings, for a face that `face` returned, with these blocks left out."""
        _, blocks, final = self.tables(timesteps)
        missing = self._missing(blocks, skips)
        stride = 2 * self._injection.interval
        # A face of another model is left to `check_inputs`, which says what does not fit.
        columns = [
            columns_of(missing[:, stride * turn + 2], layer, part)
            for turn, (layer, part) in enumerate(zip(self._sublayers, face, strict=False))
        ]
        return [Step(*parts) for parts in zip(blocks, final, missing, zip(*columns, strict=True), strict=True)]

    def tables(self, timesteps: Sequence[int]) -> Tables:
        """What depends on these timesteps alone; that of the last schedule is kept."""
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

    def _missing(self, blocks_SM6D: Tensor, skips: Collection[int]) -> Tensor:
        """Sums of gate times bias over the products so far [S, M + 1, D]; a block left out brings none."""
        blocks = [block for block in self.blocks if isinstance(block, FusedBlock)]
        biases_MD = torch.stack([linear.bias for block in blocks for linear in (block.to_out, block.down)])
        biases_MD[[2 * layer + part for layer in skips for part in (0, 1)]] = 0
        exact = torch.promote_types(biases_MD.dtype, torch.float32)
        return F.pad((blocks_SM6D[:, :, 2].to(exact) * biases_MD).cumsum(1), (0, 0, 1, 0))

    def face(self, id_kv: Tensor) -> Face:
        """A face [I, 2, 1 or B, heads, K, d] for the injections, folded where this DiT folds."""
        if not self._folds:
            return tuple(id_kv)
        return tuple(fold(layer, kv) for layer, kv in zip(self._sublayers, id_kv, strict=True))

    def forward(
        self, latents_BFCHW: Tensor, step: Step, embedded: Embedded, face: Face, skips: Collection[int] = ()
    ) -> Tensor:
        """One prediction; see `DiT.forward`.

        Args:
            latents_BFCHW: noisy latents [B, F, out_channels, H, W] in the model's dtype.
            step: one of what `steps` returned for this face and `skips`.
            embedded: what `embed` returned.
            face: what `face` returned.
            skips: blocks that are left out.
        """
        x_BND = self.patch_embed(latents_BFCHW, embedded)
        length = embedded.text.shape[1]
        h_BTD = torch.cat([embedded.text.expand(len(x_BND), -1, -1), x_BND], dim=1)
        video_BND = h_BTD[:, length:]
        modulations = step.modulations[:, None].unbind(0)
        missing = step.missing.unbind(0)

        for i, block in enumerate(self.blocks):
            assert isinstance(block, FusedBlock)
            if i not in skips:
                block.attend_(h_BTD, missing[2 * i], modulations[2 * i], length, embedded)
                block.feed_(h_BTD, missing[2 * i + 1], modulations[2 * i + 1], length)
            turn, rest = divmod(i, self._injection.interval)
            if rest:
                continue
            lacks = Missing(missing[2 * i + 2], step.columns[turn])
            id_injection(video_BND, lacks, self._sublayers[turn], face[turn], embedded.grid, self._injection.norm_eps)

        shift, scale = step.final
        x_BND = self.norm_out(self.norm_final(video_BND.add_(missing[-1]))) * (1 + scale) + shift
        return unpatchify(self.proj_out(x_BND), embedded.grid, self.config)


def _affine(layer: nn.Linear | nn.LayerNorm) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.bias


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
