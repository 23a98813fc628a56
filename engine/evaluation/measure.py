"""The measures of the paper's Table 2, of clips and of rows of clips.

A row's RS, IFS, FM and share of frames with a face are means over its clips, so that long clips weigh no more than
short ones; its FID is one distance between the crops of all its frames and those of the real pictures.

F frames, E features. Source: paper, section 4.1 "Evaluation Metrics".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.errors import one_line
from fantasyid_engine.evaluation.adherence import Score, Shown, named_in, number_of_values, scores
from fantasyid_engine.evaluation.clips import Clip, Method
from fantasyid_engine.evaluation.faces import face_crops, faces_of_clip
from fantasyid_engine.evaluation.frames import read_frames
from fantasyid_engine.evaluation.frechet import Features, fid_label, frechet_distance
from fantasyid_engine.evaluation.identity import Embedding, inter_frame_similarity, mean_known, reference_similarity
from fantasyid_engine.evaluation.motion import face_motion
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.evaluation.real import Real
from fantasyid_engine.evaluation.references import Reference, pair
from fantasyid_engine.face.detect import FaceBox, find_faces


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipMeasures:
    """One video.

    Attributes:
        video: its path, as a line of text.
        reference: the path of its photo, likewise.
        frames: F.
        faces: share of frames in which a face was found.
        rs: mean of `rs_by_frame`; 0 where no frame has a face.
        ifs: mean of `ifs_by_pair`; None where no two consecutive frames have faces, as for `fm`.
        fm: mean of `fm_by_pair`, in pixels of the 224-pixel face square per frame.
        rs_by_frame: F cosines, None where a frame has no face.
        ifs_by_pair: F - 1 cosines.
        fm_by_pair: F - 1 magnitudes.
        boxes: F boxes, pixels of the video.
        prompt: as its sidecar tells.
        shown: what the prompt names and the observer reads, where both are there.
    """

    video: str
    reference: str
    frames: int
    faces: float
    rs: float
    ifs: float | None
    fm: float | None
    rs_by_frame: tuple[float | None, ...]
    ifs_by_pair: tuple[float | None, ...]
    fm_by_pair: tuple[float | None, ...]
    boxes: tuple[FaceBox | None, ...]
    prompt: str | None
    shown: Shown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodMeasures:
    """One row: means over its clips, the distance over all crops, and how many crops those are."""

    name: str
    fid: float | None
    fid_crops: int
    rs: float
    ifs: float | None
    fm: float | None
    faces: float
    adherence: dict[str, Score]
    clips: tuple[ClipMeasures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All rows, and what they were measured with.

    Attributes:
        fid_label: the distance's name, with that of its network.
        fid_against: what the crops were compared with, in words.
        fid_against_crops: how many crops those are.
        instruments: name of each.
        methods: the rows.
        notes: what a reader of the numbers should know.
    """

    fid_label: str
    fid_against: str
    fid_against_crops: int
    instruments: dict[str, str | None]
    methods: tuple[MethodMeasures, ...]
    notes: tuple[str, ...]


OnClip = Callable[[int, int, ClipMeasures, NDArray[np.uint8]], None]
"""Called after each clip with the number done, the number of all, its measures and its frames [F, H, W, 3]."""


def evaluate(
    methods: Sequence[Method],
    references: Sequence[Reference],
    instruments: Instruments,
    *,
    real: Real | None = None,
    on_clip: OnClip = lambda done, total, measures, frames: None,
) -> Evaluation:
    """Measures every clip of every row.

    Args:
        methods: the rows; see `find_methods`.
        references: photos of the people in them.
        instruments: what to look with.
        real: crops to compare with; those of all references if None.
        on_clip: progress.

    Raises:
        InputError: a clip has no reference or cannot be read, a reference shows no face.
    """
    pairs = [[(clip, pair(clip, references)) for clip in method.clips] for method in methods]
    total = sum(map(len, pairs))
    faces = {id(reference): _reference_face(reference, instruments) for reference in references}
    size = instruments.features.crop_size
    if real is None:
        crops = face_crops([r.picture for r in references], [faces[id(r)][0] for r in references], size)
        real = Real("references", instruments.features.features(crops), ())
    rows, notes, done = [], [*real.notes], 0
    for method, row in zip(methods, pairs, strict=True):
        clips, features = [], []
        for clip, reference in row:
            frames = read_frames(clip.path)
            measures = _measure(clip, frames, reference, faces[id(reference)][1], instruments)
            crops = face_crops(frames, measures.boxes, size)
            if len(crops):
                features.append(instruments.features.features(crops))
            clips.append(measures)
            done += 1
            on_clip(done, total, measures, frames)
        rows.append(_row(method.name, clips, features, real))
        notes += _notes(rows[-1], row, instruments)
    return Evaluation(
        fid_label=fid_label(instruments.features.name),
        fid_against=real.name,
        fid_against_crops=len(real.features),
        instruments={
            "detector": instruments.detector.name,
            "embedder": instruments.embedder.name,
            "features": instruments.features.name,
            "observer": instruments.observer.name if instruments.observer else None,
        },
        methods=tuple(rows),
        notes=(*notes, *_few_crops(rows, real)),
    )


def _reference_face(reference: Reference, instruments: Instruments) -> tuple[FaceBox, Embedding]:
    box = find_faces(instruments.detector, reference.picture, str(reference.path)).faces[0]
    return box, instruments.embedder.embed([reference.picture], [box])[0]


def _measure(
    clip: Clip, frames: NDArray[np.uint8], reference: Reference, person: Embedding, instruments: Instruments
) -> ClipMeasures:
    boxes = faces_of_clip(frames, instruments.detector)
    embeddings = _embeddings(frames, boxes, instruments)
    rs, ifs = reference_similarity(embeddings, person), inter_frame_similarity(embeddings)
    fm = face_motion(frames, boxes)
    return ClipMeasures(
        video=one_line(str(clip.path)),
        reference=one_line(str(reference.path)),
        frames=len(frames),
        faces=sum(box is not None for box in boxes) / len(boxes),
        rs=mean_known(rs) or 0.0,
        ifs=mean_known(ifs),
        fm=mean_known(fm),
        rs_by_frame=rs,
        ifs_by_pair=ifs,
        fm_by_pair=fm,
        boxes=boxes,
        prompt=clip.prompt,
        shown=_shown(clip, frames, boxes, instruments),
    )


def _embeddings(
    frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None], instruments: Instruments
) -> list[Embedding | None]:
    known = [(frame, box) for frame, box in zip(frames, boxes, strict=True) if box is not None]
    if not known:
        return [None] * len(boxes)
    made = iter(instruments.embedder.embed([frame for frame, _ in known], [box for _, box in known]))
    return [None if box is None else next(made) for box in boxes]


def _shown(
    clip: Clip, frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None], instruments: Instruments
) -> Shown | None:
    if instruments.observer is None or clip.prompt is None:
        return None
    return Shown(named_in(clip.prompt), instruments.observer.attributes(frames, boxes))


def _row(name: str, clips: Sequence[ClipMeasures], features: Sequence[Features], real: Real) -> MethodMeasures:
    shown = [clip.shown for clip in clips if clip.shown is not None]
    return MethodMeasures(
        name=name,
        fid=frechet_distance(np.concatenate(features), real.features) if features else None,
        fid_crops=sum(map(len, features)),
        rs=float(np.mean([clip.rs for clip in clips])),
        ifs=mean_known([clip.ifs for clip in clips]),
        fm=mean_known([clip.fm for clip in clips]),
        faces=float(np.mean([clip.faces for clip in clips])),
        adherence=scores(shown, number_of_values()) if shown else {},
        clips=tuple(clips),
    )


def _notes(row: MethodMeasures, pairs: Sequence[tuple[Clip, Reference]], instruments: Instruments) -> list[str]:
    notes = []
    if faceless := [clip.video for clip in row.clips if clip.faces == 0]:
        notes.append(
            f"{row.name}: {len(faceless)} of {len(row.clips)} clips show no face in any frame, so their RS counts as 0 "
            f"and IFS, FM and FID are without them: {', '.join(faceless)}"
        )
    notes += [
        f"{one_line(str(clip.path))} was made from another photo than its reference {one_line(str(reference.path))}"
        for clip, reference in pairs
        if clip.image_sha256 not in (None, reference.sha256)
    ]
    unknown = sum(clip.shown is None for clip in row.clips)
    if instruments.observer is not None and unknown:
        notes.append(f"{row.name}: {unknown} of {len(row.clips)} clips have no prompt beside them; not in adherence")
    return notes


def _few_crops(rows: Sequence[MethodMeasures], real: Real) -> list[str]:
    fewest = min([len(real.features), *(row.fid_crops for row in rows if row.fid_crops)])
    features = real.features.shape[1]
    if fewest > features:
        return []
    return [
        f"FID: {fewest} crops are too few for {features} features; "
        "compare it only with runs of the same network and numbers of crops"
    ]
