import math

import numpy as np
import pytest

from fantasyid_engine.evaluation.identity import inter_frame_similarity, mean_known, reference_similarity


def unit(*values: float) -> np.ndarray:
    return (np.array(values) / np.linalg.norm(values)).astype(np.float32)


def test_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    frames = [unit(*rng.normal(size=7)) for _ in range(6)]
    reference = unit(*rng.normal(size=7))
    assert reference_similarity(frames, reference) == pytest.approx(
        [sum(float(a) * float(b) for a, b in zip(frame, reference, strict=True)) for frame in frames]
    )
    assert inter_frame_similarity(frames) == pytest.approx(
        [sum(float(a) * float(b) for a, b in zip(frames[i], frames[i + 1], strict=True)) for i in range(5)]
    )


def test_the_same_face_is_1_and_never_more() -> None:
    face = unit(0.1, 0.7, 0.3)
    assert reference_similarity([face] * 3, face) == pytest.approx((1, 1, 1))
    assert all(value is not None and value <= 1 for value in reference_similarity([face * 1.0001], face * 1.0001))


def test_frames_without_a_face_count_nowhere() -> None:
    one, other = unit(1, 0), unit(1, 1)
    assert reference_similarity([one, None, other], one) == pytest.approx((1, None, math.sqrt(0.5)))
    assert inter_frame_similarity([one, None, other, other]) == pytest.approx((None, None, 1))
    assert mean_known((1.0, None, 0.5)) == 0.75
    assert mean_known((None, None)) is None
    assert mean_known(()) is None


def test_shuffling_frames_of_two_people_lowers_ifs() -> None:
    one, other = unit(1, 0.1), unit(0.1, 1)
    parted = mean_known(inter_frame_similarity([one] * 4 + [other] * 4))
    mixed = mean_known(inter_frame_similarity([one, other] * 4))
    assert parted is not None and mixed is not None and mixed < parted < 1


def test_one_frame_has_no_pairs() -> None:
    assert inter_frame_similarity([unit(1, 0)]) == ()
