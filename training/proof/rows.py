"""The rows of the table: the paper's measures by `evaluation`, and what a report has besides.

N people, E numbers an embedding.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.clips import find_methods
from fantasyid_engine.evaluation.identity import Embedding, mean_known
from fantasyid_engine.evaluation.measure import ClipMeasures, Evaluation, evaluate
from fantasyid_engine.evaluation.protocols import Instruments
from fantasyid_engine.evaluation.references import Reference, read_references
from fantasyid_engine.face.detect import find_faces
from fantasyid_engine.training.proof.identification import clip_embedding, rank_1
from fantasyid_engine.training.proof.people import Tell
from fantasyid_engine.training.proof.report import Row
from fantasyid_engine.training.proof.sharpness import clip_sharpness

ROWS = ("true", "vae", "ours", "no-id")


def measured_rows(
    place: Path, rows: Sequence[str], instruments: Instruments, tell: Tell
) -> tuple[Evaluation, tuple[Row, ...]]:
    """Measures the clips of each row against the photos.

    Raises:
        InputError: a photo shows no face.
    """
    references = read_references([place / "people"])
    embeddings: dict[str, list[Embedding | None]] = {row: [] for row in rows}
    sharpness: dict[str, list[float | None]] = {row: [] for row in rows}

    def look(done: int, total: int, clip: ClipMeasures, frames: NDArray[np.uint8]) -> None:
        row = Path(clip.video).parent.name
        embeddings[row].append(clip_embedding(frames, clip.boxes, instruments.embedder))
        sharpness[row].append(clip_sharpness(frames, clip.boxes))
        tell("measured", done, total)

    found = evaluate(find_methods([place / "clips" / row for row in rows]), references, instruments, on_clip=look)
    photos = photo_embeddings(references, instruments)
    made = [
        Row(
            name=method.name,
            fid=method.fid,
            rs=method.rs,
            ifs=method.ifs,
            fm=method.fm,
            faces=method.faces,
            rank_1=rank_1(embeddings[method.name], photos),
            sharpness=mean_known(sharpness[method.name]),
            adherence=method.adherence,
        )
        for method in found.methods
    ]
    return found, tuple(made)


def photo_embeddings(references: Sequence[Reference], instruments: Instruments) -> NDArray[np.float32]:
    """The largest face of each of N photos -> [N, E]."""
    boxes = [find_faces(instruments.detector, photo.picture, str(photo.path)).faces[0] for photo in references]
    return instruments.embedder.embed([photo.picture for photo in references], boxes)
