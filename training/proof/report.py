"""What is measured of a model: every figure of a report, as data."""

from typing import Any

from fantasyid_engine.config.check import config, holds, positive
from fantasyid_engine.evaluation.adherence import Score
from fantasyid_engine.request import LARGEST_SEED, MOST_STEPS


@config
class Settings:
    """What to measure with.

    Attributes:
        people: of the test split, a clip each.
        steps: of denoising; None takes the model's.
        seed: of the people, their clips and the noise.
        shape: whether to measure shape control.
    """

    people: int = 64
    steps: int | None = None
    seed: int = 0
    shape: bool = True

    def __post_init__(self) -> None:
        positive(self, "people", most=9999)
        if self.steps is not None:
            positive(self, "steps", most=MOST_STEPS)
        fits = type(self.seed) is int and 0 <= self.seed <= LARGEST_SEED
        holds(self, "seed", fits, f"an integer from 0 to {LARGEST_SEED}")


@config
class Row:
    """A row of the table, over one clip of each person.

    Attributes:
        name: `true` renders; `vae`, these through the VAE; `ours`, as a user renders; `no-id`, the same without a face.
        fid: of crops of faces, as `evaluation` has it, and so are rs, ifs, fm and adherence.
        faces: share of frames with a face.
        rank_1: share of clips whose nearest photo, of those of all people, is that of their person.
        sharpness: mean gradient in heads' boxes, grey levels a pixel.
        adherence: by attribute.
    """

    name: str
    fid: float | None
    rs: float
    ifs: float | None
    fm: float | None
    faces: float
    rank_1: float
    sharpness: float | None
    adherence: dict[str, Score]

    @property
    def mean_adherence(self) -> float | None:
        """Mean over attributes; None where no prompt names any."""
        shares = [score.share for score in self.adherence.values()]
        return sum(shares) / len(shares) if shares else None


@config
class ShapeRow:
    """How far clips follow a shape setting: mean rank correlation over people, mean ratio of the face by setting."""

    name: str
    correlation: float | None
    ratios: tuple[float | None, ...]


@config
class ShapeControl:
    """Clips of the same people, prompt and seed at several settings of one shape direction.

    `settings` are standard deviations, added to what the network reads off the photo (of `true`, to the person's own).
    """

    direction: str
    settings: tuple[float, ...]
    people: int
    prompt: str
    rows: tuple[ShapeRow, ...]

    def row(self, name: str) -> ShapeRow:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)


@config
class Report:
    """All figures of one model, and what they came from.

    Attributes:
        model: its name, without the folders around it.
        trained: False where weights come from a seed.
        weights: SHA-256 of its files, or of its parts.
        settings: what was asked for; `steps` and `guidance` are those that clips were rendered with.
        frames: of a clip, each `size` by `size` pixels.
        psnr: of the VAE, dB, mean over the true clips.
        fid_label: the distance's name, with that of its network.
        rows: in the order of `rows.ROWS`.
        shape: None where it was not measured.
        notes: what a reader of the numbers should know.
        versions: of software.
        machine: what it ran on.
    """

    model: str
    trained: bool
    weights: dict[str, str]
    settings: Settings
    steps: int
    guidance: float
    frames: int
    size: int
    psnr: float
    fid_label: str
    rows: tuple[Row, ...]
    shape: ShapeControl | None
    notes: tuple[str, ...]
    versions: dict[str, str]
    machine: dict[str, Any]

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)
