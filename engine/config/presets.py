"""Networks by name: a literal table, looked up by exact name."""

from dataclasses import replace

from fantasyid_engine.config.render import ModelConfig, RenderConfig, TextConfig, VaeConfig
from fantasyid_engine.config.schema import (
    AbstractorConfig,
    DiTConfig,
    FusionConfig,
    InjectionConfig,
    MeshConfig,
    NetworkConfig,
    PaperConditionerConfig,
    ResConvConfig,
    TowerConfig,
)

COGVIDEOX: dict[str, DiTConfig] = {
    "2b": DiTConfig(
        num_layers=30,
        num_attention_heads=30,
        in_channels=16,
        use_rotary_positional_embeddings=False,
        use_learned_positional_embeddings=False,
        injection=None,
    ),
    "5b": DiTConfig(in_channels=16, use_learned_positional_embeddings=False, injection=None),
    "5b-i2v": DiTConfig(injection=None),
}
"""The published CogVideoX transformers, without injection."""

NETWORKS: dict[str, NetworkConfig] = {
    "fantasyid-5b": NetworkConfig(dit=replace(COGVIDEOX["5b-i2v"], injection=InjectionConfig())),
    "fantasyid-5b-paper": NetworkConfig(
        conditioner=PaperConditionerConfig(),
        dit=replace(COGVIDEOX["5b"], injection=InjectionConfig(form="layer_aware", id_dim=3072)),
    ),
}
"""Whole networks: what the authors released, and what their paper describes at the same size."""

MINIATURES: dict[str, ModelConfig] = {
    "avatar-mini": ModelConfig(
        network=NetworkConfig(
            tower=TowerConfig(
                image_size=64, patch_size=8, width=128, num_layers=4, num_heads=4, mlp_dim=256, rope_grid=16
            ),
            conditioner=PaperConditionerConfig(
                abstractor=AbstractorConfig(in_dim=128, grid=8, pool=2, hidden_dim=64, depth=1, num_position_tables=1),
                fusion=FusionConfig(dim=64, num_layers=6, num_heads=4, mlp_dim=128),
                resconv=ResConvConfig(channels=(96, 128, 192, 192), kernels=(3,) * 4, strides=(1,) * 4),
            ),
            dit=DiTConfig(
                num_layers=6,
                num_attention_heads=6,
                attention_head_dim=32,
                in_channels=16,
                out_channels=16,
                text_embed_dim=128,
                max_text_seq_length=32,
                time_embed_dim=64,
                sample_width=16,
                sample_height=16,
                sample_frames=9,
                temporal_compression_ratio=2,
                rotary_base_grid=(8, 8),
                use_learned_positional_embeddings=False,
                injection=InjectionConfig(form="layer_aware", num_heads=6, head_dim=32, id_dim=192),
            ),
            mesh=MeshConfig(levels=(642, 162, 42), spiral_length=9),
        ),
        vae=VaeConfig(
            block_out_channels=(24, 48, 64),
            latent_channels=16,
            layers_per_block=1,
            norm_num_groups=8,
            temporal_compression_ratio=2,
        ),
        text=TextConfig(),
        render=RenderConfig(
            guidance_scale=1.5,
            face="avatar",
            crop_size=64,
            template_vertices=True,
            guides_by_photo=True,
            skip_guidance_layers=(2,),
            trained=False,
        ),
    ),
}
"""Whole models that are made here: paper form, small enough for a CPU."""

PRESETS = ("avatar-mini", "fantasyid-5b")
"""Models that a render can name."""
