"""Whether the person stays the person of the reference, and of the frame before.

    RS  = mean over frames of  <e_f, e_ref>          reference similarity
    IFS = mean over f of       <e_f, e_{f+1}>        inter-frame similarity

e are embeddings of unit length, so that <., .> is a cosine in [-1, 1]. F frames, E numbers an embedding; a frame
without a face has None, and counts in neither mean. Source: paper, section 4.1 "Evaluation Metrics".
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Embedding = NDArray[np.float32]


def reference_similarity(frames: Sequence[Embedding | None], reference: Embedding) -> tuple[float | None, ...]:
    """Embeddings [E] of F frames and of the reference -> the cosine of each frame."""
    return tuple(None if frame is None else _cosine(frame, reference) for frame in frames)


def inter_frame_similarity(frames: Sequence[Embedding | None]) -> tuple[float | None, ...]:
    """Embeddings [E] of F frames -> F - 1 cosines, of each frame and the next."""
    return tuple(None if one is None or other is None else _cosine(one, other) for one, other in pairwise(frames))


def mean_known(values: Sequence[float | None]) -> float | None:
    """The mean of those that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _cosine(one: Embedding, other: Embedding) -> float:
    return float(np.clip(one.astype(np.float64) @ other.astype(np.float64), -1.0, 1.0))
