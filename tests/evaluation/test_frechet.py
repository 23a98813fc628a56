import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from fantasyid_engine.evaluation.frechet import covariance, fid_label, frechet_distance


def sample(count: int, size: int, seed: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(count, rank or size)) @ rng.normal(size=(rank or size, size))
    return mixed + rng.normal(size=size)


def by_scipy(one: np.ndarray, other: np.ndarray) -> float:
    """The usual form, tr sqrt(S1 S2), with scipy's root of a matrix that is not symmetric."""
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second).real
    return float(((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root))


def by_singular_values(one: np.ndarray, other: np.ndarray) -> float:
    """tr sqrt(S1 S2) is the sum of singular values of X Y^T; holds at any rank, and takes no root."""
    x, y = (s - s.mean(0) for s in (one, other))
    x, y = x / np.sqrt(len(x) - 1), y / np.sqrt(len(y) - 1)
    shared = np.linalg.svd(x @ y.T, compute_uv=False).sum()
    return float(((one.mean(0) - other.mean(0)) ** 2).sum() + (x**2).sum() + (y**2).sum() - 2 * shared)


@pytest.mark.parametrize("seed", range(4))
def test_matches_scipy_at_full_rank(seed: int) -> None:
    one, other = sample(60, 8, seed), sample(45, 8, seed + 100)
    assert frechet_distance(one, other) == pytest.approx(by_scipy(one, other), rel=1e-8)


@pytest.mark.parametrize(("counts", "rank"), [((5, 7), None), ((2, 40), None), ((30, 30), 3), ((3, 2), 1)])
def test_rank_deficient(counts: tuple[int, int], rank: int | None) -> None:
    one, other = sample(counts[0], 20, 1, rank), sample(counts[1], 20, 2, rank)
    assert frechet_distance(one, other) == pytest.approx(by_singular_values(one, other), rel=1e-6)


def test_closed_form_of_axis_aligned_normals() -> None:
    """Covariances that commute: |m1 - m2|^2 + sum (s1 - s2)^2."""
    one = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 3], [0, 0, -3]])
    other = one * [2, 0.5, 0] + [1, 2, 3]
    deviations = np.sqrt(np.array([2, 8, 18]) / 5)
    expected = 14 + ((deviations - deviations * [2, 0.5, 0]) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-12)


def test_same_set_is_near_0_and_order_does_not_matter() -> None:
    one = sample(25, 40, 3)
    assert 0 <= frechet_distance(one, one[::-1]) < 1e-5 * np.trace(covariance(one))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12), st.integers(1, 9))
def test_symmetric_and_not_negative(seed: int, n: int, m: int, size: int) -> None:
    one, other = sample(n, size, seed), sample(m, size, seed + 1)
    there, back = frechet_distance(one, other), frechet_distance(other, one)
    assert there >= 0
    assert there == pytest.approx(back, rel=1e-5, abs=1e-5)


def test_single_rows_have_only_means() -> None:
    assert frechet_distance(np.array([[1.0, 2]]), np.array([[4.0, 6]])) == 25


@pytest.mark.parametrize(("one", "other"), [((0, 3), (2, 3)), ((2, 3), (2, 4)), ((3,), (3,))])
def test_refuses_sets_that_do_not_fit(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="features must be"):
        frechet_distance(np.zeros(one), np.zeros(other))


def test_label_names_the_network() -> None:
    assert fid_label("avatar") == "FID-avatar"
    assert fid_label("inception.onnx") == "FID (inception.onnx)"
