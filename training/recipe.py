"""What a training run is: model, data, stages. Read from TOML by `recipe_file`, checked here.

Defaults are the paper's (section 4.1): batch 16, AdamW at 3e-6, cosine with restarts, 90,000 steps, null text 0.1. What
the paper leaves open is our choice, and says so.
"""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from fantasyid_engine.config.check import above_zero, config, holds, one_of, positive
from fantasyid_engine.config.render import ModelConfig

FACE_MODULES = ("conditioner.*", "dit.injections.*")
"""Face modules and injection: trained by default, all else frozen. The paper does not say whether the base is; freezing
it keeps what it knows of motion and costs a fifth of the memory."""

ROWS = ("face_abstractor", "multi_view", "face_vertices", "layer_aware_injection")
"""What the rows of the paper's Table 3 leave out."""

MOST_STEPS = 100_000_000


@config
class OptimiserConfig:
    """AdamW, its learning rate over time, clipping and the moving average.

    `lr_of` gives names that match a pattern another rate. `warmup_steps` and `restarts` are not in the paper: a
    thousandth of the run, and three restarts. `ema_decay` None keeps no average; it rises to its value as (1 + n) /
    (10 + n) over the first steps n.
    """

    lr: float = 3e-6
    lr_of: dict[str, float] = field(default_factory=dict)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    weight_decay: float = 1e-3
    schedule: Literal["constant", "cosine", "cosine_with_restarts"] = "cosine_with_restarts"
    warmup_steps: int = 100
    restarts: int = 3
    clip_norm: float = 1.0
    ema_decay: float | None = 0.9999

    def __post_init__(self) -> None:
        above_zero(self, "lr", "eps", "clip_norm")
        for pattern, rate in self.lr_of.items():
            holds(self, "lr_of", rate > 0, f"rates above 0 ({pattern!r} has {rate})")
        holds(self, "betas", all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1")
        holds(self, "weight_decay", self.weight_decay >= 0, "0 or more")
        one_of(self, "schedule", ("constant", "cosine", "cosine_with_restarts"))
        holds(self, "warmup_steps", self.warmup_steps >= 0, "0 or more")
        positive(self, "restarts")
        holds(self, "ema_decay", self.ema_decay is None or 0 < self.ema_decay < 1, "between 0 and 1, or left out")


@config
class _Stage:
    """What all stages have.

    Attributes:
        name: what logs and files call it.
        steps: updates of the weights.
        batch_size: samples an update, over all processes.
        micro_batch: most samples a process takes at a time; gradients of the rest of its share are accumulated. None
            takes its share at once.
        trainable: patterns of parameter names, `*` for anything; one with `!` before it takes names out again.
        optimiser: how they are moved.
        checkpoint_every: steps between checkpoints.
        keep_last: checkpoints kept besides the best.
        validate_every: steps between validations.
        spike_factor: the run stops where a loss is so many times the median of the last 100.
    """

    name: str
    steps: int
    batch_size: int = 16
    micro_batch: int | None = None
    trainable: tuple[str, ...] = FACE_MODULES
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    checkpoint_every: int = 500
    keep_last: int = 2
    validate_every: int = 1000
    spike_factor: float = 10.0

    def __post_init__(self) -> None:
        holds(self, "name", self.name.replace("-", "").isalnum() and self.name.isascii(), "letters, digits and -")
        positive(self, "steps", most=MOST_STEPS)
        positive(self, "batch_size", "keep_last")
        positive(self, "checkpoint_every", "validate_every", most=MOST_STEPS)
        if self.micro_batch is not None:
            positive(self, "micro_batch")
        holds(self, "trainable", bool(self.trainable) and all(self.trainable), "patterns, and not empty")
        holds(self, "spike_factor", self.spike_factor > 1, "above 1")

    @property
    def batches(self) -> tuple[int, ...]:
        """Samples that updates take, each number once."""
        return (self.batch_size,)

    def batch_at(self, step: int) -> int:
        """Samples that update number `step` takes, over all processes."""
        return self.batch_size

    def position_at(self, step: int) -> int:
        """Samples that the updates before `step` took."""
        return step * self.batch_size


@config
class VaeStage(_Stage):
    """The VAE from nothing: frames, then clips cut out around the head, then whole clips, on one schedule.

    Restarting the learning rate where clips begin cost 5 dB when it was tried; so there is one. Cut-outs give the same
    time to several times as many moving faces; the norms see whole pictures before the end.

    Attributes:
        image_steps: of `steps`, the first ones, on single frames, `image_batch` at a time.
        crop_steps: of `steps`, those that follow, on clips cut out around the head, `crop_batch` at a time.
        crop: side of what is cut out, in pixels; where there are crop_steps, of single frames too.
        face_weight: of pixels in the head's box, in the loss.
        gradient_weight: of the loss between neighbouring pixels' differences.
        square_weight: of squared errors, which are the large ones: heads that move.
        kl_weight: of the posterior's distance from a standard normal distribution.
    """

    kind: Literal["vae"] = "vae"
    trainable: tuple[str, ...] = ("vae.*",)
    image_steps: int = 0
    image_batch: int = 12
    crop_steps: int = 0
    crop_batch: int = 8
    crop: int = 32
    face_weight: float = 4.0
    gradient_weight: float = 1.0
    square_weight: float = 0.0
    kl_weight: float = 1e-6

    def __post_init__(self) -> None:
        _Stage.__post_init__(self)
        holds(self, "image_steps", 0 <= self.image_steps <= self.steps, f"from 0 to steps ({self.steps})")
        left = self.steps - self.image_steps
        holds(self, "crop_steps", 0 <= self.crop_steps <= left, f"from 0 to what image_steps leave ({left})")
        positive(self, "image_batch", "crop_batch", "crop")
        above_zero(self, "face_weight")
        for name in ("gradient_weight", "square_weight", "kl_weight"):
            holds(self, name, getattr(self, name) >= 0, "0 or more")

    @property
    def batches(self) -> tuple[int, ...]:
        """See `_Stage.batches`."""
        first = {0, self.image_steps, self.image_steps + self.crop_steps}
        return tuple(sorted({self.batch_at(step) for step in first if step < self.steps}))

    def batch_at(self, step: int) -> int:
        """See `_Stage.batch_at`."""
        if step < self.image_steps:
            return self.image_batch
        return self.crop_batch if self.is_cropped(step) else self.batch_size

    def position_at(self, step: int) -> int:
        """See `_Stage.position_at`."""
        images = min(step, self.image_steps)
        cropped = min(step - images, self.crop_steps)
        whole = step - images - cropped
        return images * self.image_batch + cropped * self.crop_batch + whole * self.batch_size

    def is_cropped(self, step: int) -> bool:
        """Whether update `step` is on what is cut out."""
        return self.crop_steps > 0 and step < self.image_steps + self.crop_steps


@config
class TowerStage(_Stage):
    """The tower and the shape regressor, taught what is known of the people in the pictures.

    Attributes:
        look_weight: of what is known besides shape (colours, hair, beard, glasses), in the loss.
    """

    kind: Literal["tower"] = "tower"
    trainable: tuple[str, ...] = ("tower.*", "shape.*", "look.*")
    look_weight: float = 1.0

    def __post_init__(self) -> None:
        _Stage.__post_init__(self)
        holds(self, "look_weight", self.look_weight >= 0, "0 or more")

    @property
    def id_tokens(self) -> bool:
        """Whether the conditioner learns along: what is known besides shape is to be read off its ID tokens too."""
        return any(name.startswith(("conditioner", "*")) for name in self.trainable)


@config
class TextStage(_Stage):
    """The text encoder, taught what avatars' prompts name."""

    kind: Literal["text"] = "text"
    trainable: tuple[str, ...] = ("text_encoder.*", "named.*")


@config
class DiffusionStage(_Stage):
    """The DiT, with or without faces.

    Attributes:
        faces: condition on faces; without, the DiT sees text alone.
        pictures: learn from each clip's first frame alone, whose latent is a picture's: many more people in the same
            time, and no motion.
        picture_batch: where it is not 0, every other update, from the first on, is on so many such pictures: faces
            stay sharp while motion is learnt.
        null_text: share of samples whose prompt is left out, for classifier-free guidance.
        null_face_tokens: share of samples whose 2-D face tokens are left out, so that the mesh is not ignored.
        timestep_power: timesteps are drawn with a density that grows as t^(timestep_power - 1). 1 is the paper's, all
            alike; above 1 more samples are nearly noise, where layout and identity are decided.
        face_weight: of latents in the head's box, in the loss, for 1 elsewhere; weights have mean 1. 1 is the paper's.
        motion_weight: of how well the pose and expression of each latent frame are read off the DiT's middle layer, in
            the loss, by a head that no model keeps (`trainable` names it `motion.*`). Only avatars' are known.
        checkpointing: recompute each block in the backward pass instead of keeping what is inside.
        videos: validation clips that are rendered and measured.
        video_steps: denoising steps of those.
    """

    kind: Literal["diffusion"] = "diffusion"
    faces: bool = True
    pictures: bool = False
    picture_batch: int = 0
    null_text: float = 0.1
    null_face_tokens: float = 0.0
    timestep_power: float = 1.0
    face_weight: float = 1.0
    motion_weight: float = 0.0
    checkpointing: bool = False
    videos: int = 0
    video_steps: int = 50

    def __post_init__(self) -> None:
        _Stage.__post_init__(self)
        for name in ("null_text", "null_face_tokens"):
            holds(self, name, 0 <= getattr(self, name) <= 1, "from 0 to 1")
        above_zero(self, "timestep_power", "face_weight")
        holds(self, "motion_weight", self.motion_weight >= 0, "0 or more")
        for name in ("picture_batch", "videos"):
            holds(self, name, getattr(self, name) >= 0, "0 or more")
        if self.picture_batch:
            holds(self, "picture_batch", not self.pictures, "0 where all updates are on pictures")
            holds(self, "steps", self.steps % 2 == 0, "even, as every other update is on pictures")
        positive(self, "video_steps", most=1000)

    @property
    def batches(self) -> tuple[int, ...]:
        """See `_Stage.batches`."""
        return tuple(sorted({self.batch_at(0), self.batch_size}))

    def batch_at(self, step: int) -> int:
        """See `_Stage.batch_at`."""
        return self.picture_batch if self.picture_batch and self.is_pictures(step) else self.batch_size

    def position_at(self, step: int) -> int:
        """See `_Stage.position_at`."""
        taken = (step + 1) // 2 if self.picture_batch else 0
        return taken * self.picture_batch + (step - taken) * self.batch_size

    def is_pictures(self, step: int) -> bool:
        """Whether update `step` is on pictures."""
        return self.pictures or (self.picture_batch > 0 and step % 2 == 0)


Stage = VaeStage | TowerStage | TextStage | DiffusionStage


@config
class AvatarData:
    """Clips of the avatar world, rendered when a run begins.

    Attributes:
        split: who is in it; see `training.avatar.clips.SPLITS`.
        people: how many.
        clips: how many, people taking turns.
        seed: of the world.
        edited_share: of the clips, those whose shape is edited, and their mesh with it, while the photos stay.
    """

    kind: Literal["avatars"] = "avatars"
    split: Literal["train", "validation", "test"] = "train"
    people: int = 4000
    clips: int = 20_000
    seed: int = 0
    edited_share: float = 0.0

    def __post_init__(self) -> None:
        positive(self, "people", "clips", most=100_000_000)
        holds(self, "seed", 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")
        holds(self, "edited_share", 0 <= self.edited_share <= 1, "from 0 to 1")


@config
class ShardData:
    """A folder of shards; see `training.data.shards`."""

    kind: Literal["shards"] = "shards"
    folder: str


Data = Annotated[AvatarData | ShardData, Field(discriminator="kind")]


@config
class Recipe:
    """A whole run.

    Attributes:
        name: what the model is called.
        model: what is trained; of a run that starts from `start`, what that folder holds.
        start: model folder to start from; None starts from weights drawn from `seed`.
        avatars: the model is of rendered avatars: its mesh and its shape regressor are theirs.
        without: rows of the paper's Table 3 that this is; see `ROWS`. What they change of `start` is drawn from `seed`.
        views: reference pictures a clip, of which one is drawn each time.
        train: the clips to learn from.
        validation: clips to measure on; None measures nothing.
        arcface: an ArcFace network (.onnx) that measures rendered validation clips of real people.
        stages: one after the other.
        seed: of weights and of everything that is drawn.
        precision: of the matrix products; weights that are trained are float32 in either.
        frozen: what weights that are not trained are stored as.
        parallel: `ddp`, a whole model on each device; `fsdp`, its weights shared out (FSDP2).
        log_every: steps between lines of the log.
        smoke: it was cut down to pass through everything, and learns nothing.
    """

    name: str
    model: ModelConfig
    start: str | None = None
    avatars: bool = False
    without: tuple[Literal["face_abstractor", "multi_view", "face_vertices", "layer_aware_injection"], ...] = ()
    views: int = 6
    train: Data
    validation: Data | None = None
    arcface: str | None = None
    stages: tuple[Annotated[Stage, Field(discriminator="kind")], ...]
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    frozen: Literal["float32", "bfloat16"] = "float32"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    log_every: int = 20
    smoke: bool = False

    def __post_init__(self) -> None:
        positive(self, "views", "log_every")
        holds(self, "seed", 0 <= self.seed < 2**32, "from 0 to 2^32 - 1")
        names = [stage.name for stage in self.stages]
        holds(self, "stages", bool(names) and len(set(names)) == len(names), "one or more, each with its own name")
        form = self.model.network.form
        holds(self, "model", form == "paper", "of the paper's form: the trainer makes no other")
        channels = self.model.network.dit.image_channels
        holds(self, "model", channels == 0, "text-to-video: with image channels the photo would enter twice")
        mixed = self.frozen == "bfloat16" and self.precision == "float32"
        holds(self, "frozen", not mixed, "float32 where precision is")
        holds(self, "without", len(set(self.without)) == len(self.without), "each row once")

    @property
    def views_used(self) -> int:
        """Reference pictures that are drawn from: one in the row without multi-view collection."""
        return 1 if "multi_view" in self.without else self.views
