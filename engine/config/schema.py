"""Configuration of the networks: frozen, keyword-only dataclasses, checked when they are made.

The fields of `DiTConfig` carry the names that diffusers' CogVideoX transformer uses in its `config.json`.
Defaults are the released size (FantasyID on CogVideoX-5B image-to-video), so that a preset states what differs.
"""

from dataclasses import field
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from fantasyid_engine.config.check import above_zero, agree, all_positive, config, holds, one_of, positive

MOST_LATENTS = 8192
"""Along one side of a picture."""

MOST_LAYERS = 1000
"""A file that names more layers is wrong, and building them would take for ever."""


@config
class InjectionConfig:
    """The ID cross-attention that follows every `interval`-th block of the DiT.

    `released` is the authors' published form (pre-norms, output projection); `layer_aware` is eq. 2 of the paper with
    an own F_l a layer; `shared` is the paper's ablation "without layer-aware injection": one projection for all layers.
    """

    form: Literal["released", "layer_aware", "shared"] = "released"
    num_heads: int = 16
    head_dim: int = 128
    id_dim: int = 2048
    interval: int = 1
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        one_of(self, "form", ("released", "layer_aware", "shared"))
        positive(self, "num_heads", "head_dim", "id_dim", "interval")
        above_zero(self, "norm_eps")

    @property
    def inner_dim(self) -> int:
        """Width of q, k and v: heads times channels a head."""
        return self.num_heads * self.head_dim


@config
class DiTConfig:
    """The MM-DiT of CogVideoX, with the ID injection that this engine adds to it.

    `in_channels` beyond `out_channels` are image latents (image-to-video); `sample_*` are in latents (height, width)
    and video frames. `rotary_base_grid` is the token grid (rows, columns) that rotary positions are fitted into: the
    release has 30 x 45 whatever the sample size.
    """

    num_layers: int = 42
    num_attention_heads: int = 48
    attention_head_dim: int = 64
    in_channels: int = 32
    out_channels: int = 16
    patch_size: int = 2
    text_embed_dim: int = 4096
    max_text_seq_length: int = 226
    time_embed_dim: int = 512
    sample_width: int = 90
    sample_height: int = 60
    sample_frames: int = 49
    temporal_compression_ratio: int = 4
    spatial_interpolation_scale: float = 1.875
    temporal_interpolation_scale: float = 1.0
    use_rotary_positional_embeddings: bool = True
    rotary_base_grid: tuple[int, int] = (30, 45)
    use_learned_positional_embeddings: bool = True
    norm_eps: float = 1e-5
    qk_norm_eps: float = 1e-6
    injection: InjectionConfig | None = field(default_factory=InjectionConfig)

    def __post_init__(self) -> None:
        positive(self, "num_layers", most=MOST_LAYERS)
        positive(
            self,
            *("num_attention_heads", "attention_head_dim", "in_channels", "out_channels", "patch_size"),
            *("text_embed_dim", "max_text_seq_length", "time_embed_dim"),
            *("sample_frames", "temporal_compression_ratio"),
        )
        positive(self, "sample_width", "sample_height", most=MOST_LATENTS)
        holds(self, "attention_head_dim", self.attention_head_dim % 16 == 0, "a multiple of 16 (rotary: 1/4, 3/8, 3/8)")
        holds(
            self, "in_channels", self.in_channels >= self.out_channels, f"at least out_channels ({self.out_channels})"
        )
        holds(
            self,
            "sample_width",
            self.sample_width % self.patch_size == 0,
            f"a multiple of patch_size ({self.patch_size})",
        )
        holds(
            self,
            "sample_height",
            self.sample_height % self.patch_size == 0,
            f"a multiple of patch_size ({self.patch_size})",
        )
        all_positive(self, "rotary_base_grid")
        above_zero(self, "spatial_interpolation_scale", "temporal_interpolation_scale", "norm_eps", "qk_norm_eps")
        frames_left = (self.sample_frames - 1) % self.temporal_compression_ratio
        holds(
            self,
            "sample_frames",
            frames_left == 0,
            f"1 more than a multiple of temporal_compression_ratio ({self.temporal_compression_ratio})",
        )

    @property
    def dim(self) -> int:
        """Width D of the tokens."""
        return self.num_attention_heads * self.attention_head_dim

    @property
    def image_channels(self) -> int:
        """Channels of the image latents; 0 for text-to-video."""
        return self.in_channels - self.out_channels

    @property
    def sample_latent_frames(self) -> int:
        """Latent frames of the size the model was made for."""
        return (self.sample_frames - 1) // self.temporal_compression_ratio + 1

    @property
    def sample_grid(self) -> tuple[int, int, int]:
        """Token grid (latent frames, rows, columns) of the size the model was made for."""
        return self.sample_latent_frames, self.sample_height // self.patch_size, self.sample_width // self.patch_size

    @property
    def num_injections(self) -> int:
        """Layers that are followed by an injection."""
        return 0 if self.injection is None else -(-self.num_layers // self.injection.interval)


@config
class TowerConfig:
    """The EVA-02 vision tower. `num_layers` counts the blocks up to the hidden state used, not those trained."""

    image_size: int = 336
    patch_size: int = 14
    width: int = 1024
    num_layers: int = 20
    num_heads: int = 16
    mlp_dim: int = 2730
    rope_grid: int = 16
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        positive(self, "num_layers", most=MOST_LAYERS)
        positive(self, "image_size", "patch_size", "width", "num_heads", "mlp_dim", "rope_grid")
        above_zero(self, "norm_eps")
        holds(
            self, "image_size", self.image_size % self.patch_size == 0, f"a multiple of patch_size ({self.patch_size})"
        )
        holds(self, "width", self.width % (4 * self.num_heads) == 0, f"a multiple of 4 x num_heads ({self.num_heads})")

    @property
    def grid(self) -> int:
        """Patches along one side of the picture."""
        return self.image_size // self.patch_size


@config
class AbstractorConfig:
    """The face abstractor: C-Abstractor (Honeybee) over the tower's patch tokens.

    `grid` x `grid` tokens of `in_dim` become `grid / pool` squared tokens of `in_dim`, by `depth` bottlenecks of width
    `hidden_dim` before the pooling and as many after. The release adds two position tables, not one.
    """

    in_dim: int = 1024
    grid: int = 24
    pool: int = 4
    hidden_dim: int = 256
    depth: int = 3
    num_position_tables: int = 2
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        positive(self, "depth", "num_position_tables", most=MOST_LAYERS)
        positive(self, "in_dim", "grid", "pool", "hidden_dim")
        above_zero(self, "norm_eps")
        holds(self, "grid", self.grid % self.pool == 0, f"a multiple of pool ({self.pool})")
        holds(self, "in_dim", self.in_dim % 4 == 0, "a multiple of 4 (squeeze-excite takes a quarter)")
        holds(self, "hidden_dim", self.hidden_dim % 4 == 0, "a multiple of 4 (squeeze-excite takes a quarter)")

    @property
    def num_tokens(self) -> int:
        """Tokens that come out."""
        return (self.grid // self.pool) ** 2


@config
class QFormerConfig:
    """A Q-Former in the face abstractor's place: the paper's ablation "w/o face abstractor".

    `num_queries` tokens of `in_dim` come out; to leave all else as it was, give as many as the abstractor would make.
    Inside, `depth` layers of width `hidden_dim`.
    """

    form: Literal["q_former"] = "q_former"
    in_dim: int = 1024
    num_queries: int = 36
    hidden_dim: int = 256
    depth: int = 3
    num_heads: int = 4
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        one_of(self, "form", ("q_former",))
        positive(self, "depth", most=MOST_LAYERS)
        positive(self, "in_dim", "num_queries", "hidden_dim", "num_heads")
        above_zero(self, "norm_eps")
        holds(self, "hidden_dim", self.hidden_dim % self.num_heads == 0, f"a multiple of num_heads ({self.num_heads})")

    @property
    def num_tokens(self) -> int:
        """Tokens that come out."""
        return self.num_queries


def _token_form(value: Any) -> Any:
    """Which of the two an abstractor in JSON is; a C-Abstractor needs no form."""
    if isinstance(value, dict):
        return value.get("form", "c_abstractor")
    return getattr(value, "form", "c_abstractor")


PaperAbstractorConfig = Annotated[
    Annotated[AbstractorConfig, Tag("c_abstractor")] | Annotated[QFormerConfig, Tag("q_former")],
    Discriminator(
        _token_form,
        custom_error_type="abstractor_form",
        custom_error_message="form must be 'q_former', or left out for a C-Abstractor",
    ),
]
"""What makes 2-D face tokens in the paper's form."""


@config
class FusionConfig:
    """The fusion transformer over vertex and face tokens: pre-norm attention and feed-forward."""

    dim: int = 128
    num_layers: int = 6
    num_heads: int = 4
    mlp_dim: int = 256
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        positive(self, "num_layers", most=MOST_LAYERS)
        positive(self, "dim", "num_heads", "mlp_dim")
        above_zero(self, "norm_eps")
        holds(self, "dim", self.dim % self.num_heads == 0, f"a multiple of num_heads ({self.num_heads})")


@config
class ResConvConfig:
    """A chain of residual 1-D convolution blocks along the token axis: one entry a block."""

    channels: tuple[int, ...] = (256, 512, 1024, 2048)
    kernels: tuple[int, ...] = (5, 5, 3, 3)
    strides: tuple[int, ...] = (4, 4, 2, 2)
    groups: int = 8
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        positive(self, "groups")
        above_zero(self, "norm_eps")
        for name in ("channels", "kernels", "strides"):
            all_positive(self, name)
        holds(self, "kernels", len(self.kernels) == len(self.channels), f"{len(self.channels)} long, like channels")
        holds(self, "strides", len(self.strides) == len(self.channels), f"{len(self.channels)} long, like channels")
        holds(
            self, "channels", all(c % self.groups == 0 for c in self.channels), f"multiples of groups ({self.groups})"
        )
        holds(self, "kernels", all(k % 2 == 1 for k in self.kernels), "odd")

    def output_length(self, length: int) -> int:
        """Tokens that come out of `length` tokens."""
        for stride in self.strides:
            length = -(-length // stride)
        return length


@config
class ReleasedConditionerConfig:
    """The conditioner of the released form: abstractor, fusion with a spiral decoder, vertex reducer."""

    form: Literal["released"] = "released"
    abstractor: AbstractorConfig = field(default_factory=AbstractorConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    reducer: ResConvConfig = field(default_factory=ResConvConfig)

    def __post_init__(self) -> None:
        halvings = self.id_dim // self.fusion.dim
        holds(
            self,
            "reducer",
            self.id_dim == self.fusion.dim * halvings and halvings & (halvings - 1) == 0 and halvings > 0,
            f"such that its last width ({self.id_dim}) is a power of two times fusion.dim ({self.fusion.dim})",
        )

    @property
    def id_dim(self) -> int:
        """Width of the ID tokens."""
        return self.reducer.channels[-1]


@config
class PaperConditionerConfig:
    """The conditioner of the paper's form (FantasyID paper, sections 3.2 to 3.4).

    `fusion.dim` is the paper's C'; the last width of `resconv` is the width of V_F (the DiT's, in the paper).
    `depth_octaves` sets the range of
    frequencies of E_dep: pi to pi * 2**depth_octaves over the depth of a mesh.

    Two rows of the paper's Table 3 are here: "w/o FA" has a `QFormerConfig` as its abstractor, "w/o FV" has
    `face_vertices` false: no mesh enters, and all 2-D tokens become ID tokens.
    """

    form: Literal["paper"] = "paper"
    abstractor: PaperAbstractorConfig = field(default_factory=lambda: AbstractorConfig(num_position_tables=1))
    fusion: FusionConfig = field(default_factory=FusionConfig)
    resconv: ResConvConfig = field(
        default_factory=lambda: ResConvConfig(
            channels=(256, 512, 1024, 3072), kernels=(3, 3, 3, 3), strides=(1, 1, 1, 1)
        )
    )
    depth_octaves: float = 8.0
    face_vertices: bool = True

    def __post_init__(self) -> None:
        above_zero(self, "depth_octaves")
        holds(self, "fusion", self.fusion.dim % 4 == 0, "of a width that is a multiple of 4 (sine and cosine)")
        holds(self, "resconv", all(s == 1 for s in self.resconv.strides), "of stride 1: N' tokens stay N' tokens")

    @property
    def id_dim(self) -> int:
        """Width of the ID tokens."""
        return self.resconv.channels[-1]


ConditionerConfig = Annotated[ReleasedConditionerConfig | PaperConditionerConfig, Field(discriminator="form")]


@config
class MeshConfig:
    """Vertices a level, finest first, and the number of vertices in a spiral."""

    levels: tuple[int, ...] = (5023, 1256, 314)
    spiral_length: int = 9

    def __post_init__(self) -> None:
        all_positive(self, "levels")
        falling = all(fine > coarse for fine, coarse in pairwise(self.levels))
        holds(self, "levels", len(self.levels) == 3 and falling, "three falling vertex counts")
        positive(self, "spiral_length")


@config
class ShapeConfig:
    """The shape regressor: one coefficient for each of `names`, by a hidden layer of width `hidden_dim`.

    It reads `token_dim` channels of each patch token.

    Names are what a person calls the directions of the shape basis, such as `face_width`.
    """

    names: tuple[str, ...]
    hidden_dim: int = 128
    token_dim: int = 16

    def __post_init__(self) -> None:
        positive(self, "hidden_dim", "token_dim")
        words = isinstance(self.names, tuple) and all(isinstance(n, str) and n.isidentifier() for n in self.names)
        fits = words and 0 < len(self.names) == len(set(self.names))
        holds(self, "names", fits, "a tuple of different words (letters, digits, underscores)")


@config
class NetworkConfig:
    """One whole FantasyID network: tower, conditioner and DiT of one form, and the mesh they expect.

    With `shape` (paper's form only) it reads vertices off the photo.
    """

    tower: TowerConfig = field(default_factory=TowerConfig)
    conditioner: ConditionerConfig = field(default_factory=ReleasedConditionerConfig)
    dit: DiTConfig = field(default_factory=DiTConfig)
    mesh: MeshConfig = field(default_factory=MeshConfig)
    shape: ShapeConfig | None = None

    def __post_init__(self) -> None:
        abstractor, injection = self.conditioner.abstractor, self.dit.injection
        agree(self, ("conditioner.abstractor.in_dim", abstractor.in_dim), ("tower.width", self.tower.width))
        if isinstance(abstractor, AbstractorConfig):
            agree(self, ("conditioner.abstractor.grid", abstractor.grid), ("the tower's grid", self.tower.grid))
        if injection is None:
            raise ValueError("NetworkConfig.dit has no injection; without one there is nothing to condition")
        id_dim = ("the conditioner's last width", self.conditioner.id_dim)
        agree(self, id_dim, ("dit.injection.id_dim", injection.id_dim))
        injection_form = "released" if injection.form == "released" else "paper"
        agree(self, ("conditioner.form", self.conditioner.form), ("the form of dit.injection", injection_form))
        if self.shape is not None and self.form != "paper":
            raise ValueError("NetworkConfig.shape is given; only networks of the paper's form have a shape regressor")

    @property
    def form(self) -> Literal["released", "paper"]:
        """`released`, as the authors published it, or `paper`, as their paper describes it."""
        return self.conditioner.form

    @property
    def takes_vertices(self) -> bool:
        """Whether a face's vertices enter; False in the paper's ablation "w/o FV"."""
        return not isinstance(self.conditioner, PaperConditionerConfig) or self.conditioner.face_vertices

    @property
    def num_id_tokens(self) -> int:
        """Tokens K that each injection attends to."""
        if isinstance(self.conditioner, PaperConditionerConfig):
            return self.mesh.levels[-1] if self.takes_vertices else self.conditioner.abstractor.num_tokens
        return self.conditioner.abstractor.num_tokens + self.conditioner.reducer.output_length(self.mesh.levels[0])
