"""Whether a face gets as wide as the vertices say: one prompt, photo and seed at five settings of `face_width`.

    rank correlation of a person = Spearman's, between the settings and the clips' ratios of the face

The ratio is the width of the head's box over its height, mean over frames, as the detector sees the picture: from ear
to ear and from chin to crown, without hair. On true renders of 64 pixels it puts the settings of every one of 16 people
in their order.

Three rows: `true` renders of people of these shapes; `ours`, as `--shape` gives them; and `no vertices`: the template's
at every setting, which no setting reaches. There each clip has a seed of its own: with one for all of a person's, all
would be one clip; with one for all of a setting's, people would agree on what the five seeds happen to give.

F frames.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.engine import Engine
from fantasyid_engine.evaluation.faces import faces_of_clip
from fantasyid_engine.evaluation.identity import mean_known
from fantasyid_engine.evaluation.vocabulary import Attributes, attributes_in
from fantasyid_engine.face.detect import FaceBox, FaceDetector
from fantasyid_engine.training.avatar.clips import render_takes
from fantasyid_engine.training.avatar.frames import Take
from fantasyid_engine.training.avatar.head import SHAPE
from fantasyid_engine.training.avatar.motion import motion_path
from fantasyid_engine.training.avatar.scene import draw_scene
from fantasyid_engine.training.proof.people import Subject, Tell
from fantasyid_engine.training.proof.render import rendered
from fantasyid_engine.training.proof.report import Settings, ShapeControl, ShapeRow
from fantasyid_engine.training.validation import vertex_file
from fantasyid_engine.weights.model import Model

DIRECTION = "face_width"
SETTINGS = (-2.0, -1.0, 0.0, 1.0, 2.0)
PEOPLE = 16
PROMPT = "a calm person keeps still against plain blue, neutral light from the front"
TRUE, OURS, WITHOUT = "true", "ours", "no vertices"

Clip = NDArray[np.uint8]
Make = Callable[[int, Subject, float], Clip]
"""Number, person and setting -> the clip's frames [F, H, W, 3]."""


def has_shape_control(model: Model) -> bool:
    """Whether the network reads the direction off photos, and takes vertices."""
    config = model.network.config
    return config.takes_vertices and config.shape is not None and DIRECTION in config.shape.names


def control_shape(
    engine: Engine, subjects: Sequence[Subject], settings: Settings, detector: FaceDetector, tell: Tell
) -> tuple[ShapeControl, list[list[NDArray[np.uint8]]]]:
    """Renders and measures the first people -> figures, and of each of them `ours` at every setting, middle frames."""
    model, subjects = engine.model, subjects[:PEOPLE]
    template = vertex_file(model.hierarchy.template.cpu())

    def true(number: int, subject: Subject, setting: float) -> Clip:
        return true_clip(subject, setting, number, model)

    def ours(number: int, subject: Subject, setting: float) -> Clip:
        return rendered(engine, subject, PROMPT, settings.seed, settings.steps, shape={DIRECTION: setting})

    def without(number: int, subject: Subject, setting: float) -> Clip:
        seed = settings.seed + number * len(SETTINGS) + SETTINGS.index(setting)
        return rendered(engine, subject, PROMPT, seed, settings.steps, vertices=template)

    makers: dict[str, Make] = {TRUE: true, OURS: ours, WITHOUT: without}
    clips = {
        name: _made(make, subjects, partial(tell, f"shape control, rendered {name}")) for name, make in makers.items()
    }
    control = ShapeControl(
        direction=DIRECTION,
        settings=SETTINGS,
        people=len(subjects),
        prompt=PROMPT,
        rows=tuple(shape_row(name, made, detector) for name, made in clips.items()),
    )
    return control, [[clip[len(clip) // 2] for clip in row] for row in clips[OURS]]


def _made(make: Make, subjects: Sequence[Subject], tell: Callable[[int, int], None]) -> list[list[Clip]]:
    made, total = [], len(subjects) * len(SETTINGS)
    for number, subject in enumerate(subjects):
        made.append([])
        for setting in SETTINGS:
            made[-1].append(make(number, subject, setting))
            tell(number * len(SETTINGS) + len(made[-1]), total)
    return made


def true_clip(subject: Subject, setting: float, number: int, model: Model) -> Clip:
    """The world's own clip of the prompt [F, H, W, 3], of a person in another shape; pose and scene follow `number`."""
    shape = subject.sample.who.shape.copy()
    shape[SHAPE.index(DIRECTION)] += setting
    attributes, rng = Attributes(**attributes_in(PROMPT)), np.random.default_rng([number])
    frames = model.network.config.dit.sample_frames
    motion = motion_path(attributes.motion, attributes.expression, frames, rng)
    take = Take(replace(subject.sample.who, shape=shape), motion, draw_scene(attributes, rng))
    return render_takes([take], model.frame_size[0]).pictures.permute(0, 2, 3, 1).contiguous().numpy()


def shape_row(name: str, clips: Sequence[Sequence[Clip]], detector: FaceDetector) -> ShapeRow:
    """Clips by person and setting -> their figures.

    The correlation of a person with a clip without a face is 0; where nobody's clips show one, there is none.
    """
    ratios = [[face_ratio(faces_of_clip(clip, detector)) for clip in row] for row in clips]
    known = any(ratio is not None for row in ratios for ratio in row)
    return ShapeRow(
        name=name,
        correlation=float(np.mean([_correlation(row) for row in ratios])) if known else None,
        ratios=tuple(mean_known(column) for column in zip(*ratios, strict=True)),
    )


def face_ratio(boxes: Sequence[FaceBox | None]) -> float | None:
    """Heads' boxes of F frames -> width over height, mean over frames with a head; None without any."""
    return mean_known([box.width / box.height for box in boxes if box is not None])


def _correlation(ratios: Sequence[float | None]) -> float:
    known = [ratio for ratio in ratios if ratio is not None]
    return rank_correlation(SETTINGS, known) if len(known) == len(SETTINGS) else 0.0


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing theirs; 0 where either has one value only."""
    first, second = _ranks(one), _ranks(other)
    if not first.any() or not second.any():
        return 0.0
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """How many are smaller less how many are larger: twice the rank, around 0."""
    numbers = np.asarray(values, np.float64)
    return np.sign(numbers[:, None] - numbers).sum(axis=1)
