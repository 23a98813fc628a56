"""Whether a clip is taken for the person whose photo it was made from, among all people.

    rank-1 = share of clips i with  argmax over people p of <mean over frames of e_f, e_p> = i

e are embeddings of unit length. A clip without a face counts as wrong. Guessing scores one in the number of people.

N people, F frames, E numbers an embedding.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fantasyid_engine.evaluation.identity import Embedding
from fantasyid_engine.evaluation.protocols import FaceEmbedder
from fantasyid_engine.face.detect import FaceBox


def clip_embedding(
    frames: NDArray[np.uint8], boxes: Sequence[FaceBox | None], embedder: FaceEmbedder
) -> Embedding | None:
    """RGB frames [F, H, W, 3] and the face in each -> the mean embedding [E] of those with one; None without any."""
    known = [(frame, box) for frame, box in zip(frames, boxes, strict=True) if box is not None]
    if not known:
        return None
    return embedder.embed([frame for frame, _ in known], [box for _, box in known]).mean(axis=0)


def rank_1(clips: Sequence[Embedding | None], photos: NDArray[np.float32]) -> float:
    """Embeddings of N clips and [N, E] of the photos, clip i of person i -> the share of clips that are told right."""
    right = [clip is not None and int((photos @ clip).argmax()) == i for i, clip in enumerate(clips)]
    return sum(right) / len(right)
