"""Networks by name: a literal table, looked up by exact name."""

from dataclasses import replace

from fantasyid_engine.config.schema import (
    DiTConfig,
    InjectionConfig,
    NetworkConfig,
    PaperConditionerConfig,
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
