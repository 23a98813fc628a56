"""The authors' key names: what each becomes here, and which tensors of their checkpoint are dead.

Dead means: what it holds never reaches the output, because the release throws away what it computes with it, or
because it is computed anew from the configuration.

Source: github.com/Fantasy-AMAP/fantasy-id @ c429092, and diffusers' CogVideoX.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

_BLOCK = r"transformer_blocks\.(\d+)\."
_INJECTION = r"layer_attention\.(\d+)\."
_STAGE = r"face_abstractor\.layers\.9\.0\.net\."
_FUSION = r"vertex_spiral_net\.transformer\.layers\.(\d+)\."

_UPSAMPLER = r"vertex_spiral_net\.vtx_upsampler\.de_layers\."

Rename = str | Callable[[re.Match[str]], str]


def _bottleneck(stage: str) -> Callable[[re.Match[str]], str]:
    """Bottlenecks count from b1 there, from 0 here; the norm after a convolution is called bn there."""

    def rename(match: re.Match[str]) -> str:
        rest = match[2].replace("downsample.", "shortcut.").replace(".bn.", ".norm.")
        return f"conditioner.abstractor.abstractor.{stage}.{int(match[1]) - 1}.{rest}"

    return rename


def _reducer(match: re.Match[str]) -> str:
    """Blocks count from 1 there, from 0 here."""
    rest = match[2].replace("residual_conv.", "shortcut.").replace("conv1d.", "conv.").replace("group_norm.", "norm.")
    return f"conditioner.resconv.blocks.{int(match[1]) - 1}.{rest}"


RENAMES: tuple[tuple[str, Rename], ...] = (
    # DiT
    (r"(patch_embed|time_embedding|norm_final|norm_out|proj_out)\.(.+)", r"dit.\1.\2"),
    (_BLOCK + r"norm1\.(.+)", r"dit.blocks.\1.attn_mod.\2"),
    (_BLOCK + r"norm2\.(.+)", r"dit.blocks.\1.ff_mod.\2"),
    (_BLOCK + r"attn1\.to_out\.0\.(.+)", r"dit.blocks.\1.attn.to_out.\2"),
    (_BLOCK + r"attn1\.((?:to_[qkv]|norm_[qk])\..+)", r"dit.blocks.\1.attn.\2"),
    (_BLOCK + r"ff\.net\.0\.proj\.(.+)", r"dit.blocks.\1.ff.up.\2"),
    (_BLOCK + r"ff\.net\.2\.(.+)", r"dit.blocks.\1.ff.down.\2"),
    # injection: what reads the face is the conditioner's, what reads the video is the DiT's
    (_INJECTION + r"norm1\.(.+)", r"conditioner.key_values.\1.norm.\2"),
    (_INJECTION + r"to_kv\.(.+)", r"conditioner.key_values.\1.to_kv.\2"),
    (_INJECTION + r"norm2\.(.+)", r"dit.injections.layers.\1.norm.\2"),
    (_INJECTION + r"((?:to_q|to_out)\..+)", r"dit.injections.layers.\1.\2"),
    # face abstractor: the last mapping, the last layer, and the position table that leaks into it from the one before
    (r"face_abstractor\.mapping_4\.(.+)", r"conditioner.abstractor.mapping.\1"),
    (r"face_abstractor\.layers\.8\.0\.pos_emb", r"conditioner.abstractor.abstractor.positions.0"),
    (r"face_abstractor\.layers\.9\.0\.pos_emb", r"conditioner.abstractor.abstractor.positions.1"),
    (_STAGE + r"0\.b(\d+)\.(.+)", _bottleneck("before")),
    (_STAGE + r"2\.b(\d+)\.(.+)", _bottleneck("after")),
    (r"face_abstractor\.layers\.9\.0\.readout\.(.+)", r"conditioner.abstractor.abstractor.readout.\1"),
    (r"face_abstractor\.layers\.9\.1\.(.+)", r"conditioner.abstractor.feed_forward.\1"),
    (r"face_abstractor\.proj_out", r"conditioner.abstractor.proj_out"),
    # vertex net
    (r"vertex_spiral_net\.vtx_query", r"conditioner.vertex_net.query"),
    (r"vertex_spiral_net\.hw_down\.(.+)", r"conditioner.vertex_net.face_mlp.\1"),
    (_FUSION + r"0\.norm\.(.+)", r"conditioner.vertex_net.fusion.\1.attn_norm.\2"),
    (_FUSION + r"0\.fn\.to_qkv\.(.+)", r"conditioner.vertex_net.fusion.\1.to_qkv.\2"),
    (_FUSION + r"0\.fn\.to_out\.0\.(.+)", r"conditioner.vertex_net.fusion.\1.to_out.\2"),
    (_FUSION + r"1\.norm\.(.+)", r"conditioner.vertex_net.fusion.\1.mlp_norm.\2"),
    (_FUSION + r"1\.fn\.net\.0\.(.+)", r"conditioner.vertex_net.fusion.\1.mlp.0.\2"),
    (_FUSION + r"1\.fn\.net\.3\.(.+)", r"conditioner.vertex_net.fusion.\1.mlp.2.\2"),
    (_UPSAMPLER + r"0\.conv\.layer\.(.+)", r"conditioner.vertex_net.decoder.conv1.linear.\1"),
    (_UPSAMPLER + r"1\.conv\.layer\.(.+)", r"conditioner.vertex_net.decoder.conv0.linear.\1"),
    (_UPSAMPLER + r"2\.layer\.(.+)", r"conditioner.vertex_net.decoder.conv_out.linear.\1"),
    (r"vertex_spiral_net\.vtx_descriptor_head\.0\.(.+)", r"conditioner.vertex_net.decoder.head.\1"),
    # vertex reducer
    (r"vertex_reducer\.conv_block(\d+)\.((?:conv_in|conv_out|residual_conv)\..+)", _reducer),
    # EVA02-CLIP visual tower
    (r"visual\.(cls_token|pos_embed)", r"tower.\1"),
    (r"visual\.patch_embed\.proj\.(.+)", r"tower.patches.\1"),
    (r"visual\.blocks\.(\d+)\.norm1\.(.+)", r"tower.blocks.\1.attn_norm.\2"),
    (r"visual\.blocks\.(\d+)\.norm2\.(.+)", r"tower.blocks.\1.mlp_norm.\2"),
    (r"visual\.blocks\.(\d+)\.attn\.([qv])_bias", r"tower.blocks.\1.attn.to_\2.bias"),
    (r"visual\.blocks\.(\d+)\.attn\.([qkv])_proj\.weight", r"tower.blocks.\1.attn.to_\2.weight"),
    (r"visual\.blocks\.(\d+)\.attn\.inner_attn_ln\.(.+)", r"tower.blocks.\1.attn.norm.\2"),
    (r"visual\.blocks\.(\d+)\.attn\.proj\.(.+)", r"tower.blocks.\1.attn.to_out.\2"),
    (r"visual\.blocks\.(\d+)\.mlp\.w1\.(.+)", r"tower.blocks.\1.mlp.gate.\2"),
    (r"visual\.blocks\.(\d+)\.mlp\.w2\.(.+)", r"tower.blocks.\1.mlp.up.\2"),
    (r"visual\.blocks\.(\d+)\.mlp\.ffn_ln\.(.+)", r"tower.blocks.\1.mlp.norm.\2"),
    (r"visual\.blocks\.(\d+)\.mlp\.w3\.(.+)", r"tower.blocks.\1.mlp.down.\2"),
)


@dataclass(frozen=True, slots=True)
class Dead:
    """Keys that match `pattern` are dropped, because of `reason`."""

    pattern: str
    reason: str


DEAD: tuple[Dead, ...] = (
    Dead(r"face_abstractor\.latents", "the query tokens reach only outputs that are sliced away"),
    Dead(r"face_abstractor\.id_embedding_mapping\..+", "the ArcFace and CLIP embedding it maps is sliced away"),
    Dead(r"face_abstractor\.mapping_[0-3]\..+", "maps hidden states 0 to 3, whose groups are overwritten by the last"),
    Dead(r"face_abstractor\.layers\.[0-7]\..+", "groups 0 to 3: each group's result is overwritten by the next"),
    Dead(
        r"face_abstractor\.layers\.8\.(0\.net|0\.readout|1)\..+",
        "of the last group's first layer only the positions leak",
    ),
    Dead(r"visual\.(norm|head)\..+", "comes after the hidden state that is used"),
    Dead(r"visual\.(blocks\.\d+\.attn\.)?rope\.freqs_(cos|sin)", "computed from the configuration"),
    Dead(r"(text|transformer|token_embedding|ln_final)\..+", "the text half of EVA-CLIP"),
    Dead(r"logit_scale|positional_embedding|text_projection|attn_mask", "the text half of EVA-CLIP"),
)
"""The one table of what is not loaded, but for the tower's last blocks: see `dead_row`."""

LATE_BLOCK = Dead(r"visual\.blocks\.(\d{1,2})\.(.+)", "comes after the hidden state that is used")
TRAINED_BLOCKS = 24


def our_name(key: str) -> str | None:
    """The authors' key -> name in `Network`'s state dict, or None where it has none."""
    for pattern, rename in RENAMES:
        if match := re.fullmatch(pattern, key):
            return match.expand(rename) if isinstance(rename, str) else rename(match)
    return None


def dead_row(key: str, tower_layers: int) -> Dead | None:
    """Why a key is dropped, or None where it is live or unknown.

    Args:
        key: the authors' key.
        tower_layers: blocks of the tower that are used; later ones of the 24 trained are dead.
    """
    match = re.fullmatch(LATE_BLOCK.pattern, key)
    if match and tower_layers <= int(match[1]) < TRAINED_BLOCKS and our_name(key) is not None:
        return LATE_BLOCK
    return next((row for row in DEAD if re.fullmatch(row.pattern, key)), None)
