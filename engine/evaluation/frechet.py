"""The Frechet distance of two sets of features, each taken for a sample of a normal distribution.

    d = |m_1 - m_2|^2 + tr(S_1 + S_2 - 2 (S_1^(1/2) S_2 S_1^(1/2))^(1/2))

m means, S covariances (over N - 1). Roots are taken through symmetric eigen-decompositions in float64, with negative
eigenvalues, which are rounding, set to 0: covariances of rank below E, as few crops give, are exact too. The Frechet
inception distance of Heusel et al. 2017 is this with features of InceptionV3; here the network is named beside the
number, for distances of different networks, and of different numbers of crops, do not compare.

N, M crops, E features. Source: paper, section 4.1 "Evaluation Metrics".
"""

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]


def frechet_distance(one: Features, other: Features) -> float:
    """Features [N, E] and [M, E], N, M >= 1 -> the distance; a single row has no spread.

    Raises:
        ValueError: a set is empty, or E differs.
    """
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or 0 in (*one.shape, *other.shape):
        raise ValueError(f"features must be [N, E] and [M, E], not empty, not {one.shape} and {other.shape}")
    apart = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
    first, second = covariance(one), covariance(other)
    root = _root(first)
    middle = root @ second @ root
    shared = np.sqrt(_eigenvalues(middle)).sum()
    return max(0.0, float(apart @ apart + np.trace(first) + np.trace(second) - 2 * shared))


def covariance(features: Features) -> Features:
    """Features [N, E] -> [E, E]; zero for one row."""
    centred = features.astype(np.float64) - features.mean(axis=0, dtype=np.float64)
    return centred.T @ centred / max(1, len(features) - 1)


def fid_label(network: str) -> str:
    """How tables call the distance, with the feature network's name: `FID-avatar`, `FID (inception.onnx)`."""
    return f"FID-{network}" if network.isidentifier() else f"FID ({network})"


def _root(symmetric: Features) -> Features:
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _eigenvalues(symmetric: Features) -> NDArray[np.floating]:
    return np.clip(np.linalg.eigvalsh((symmetric + symmetric.T) / 2), 0, None)
