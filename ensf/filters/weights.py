"""Analyses that are one set of weights of the members, the same at every place.

Member j of the analysis is ``x_j + sum_k A_k D_kj``, with A the anomalies of the prior from its mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, is_host, like, member_mean, namespace
from ensf.filters.base import Part, Update

__all__ = ["WeightsUpdate", "combine", "precise", "spectrum"]

ACCURATE = 2e6
"""Information (trace of S S^T) above which eigenvectors of the Gram matrix lose digits, and S itself is decomposed."""


@dataclass(frozen=True, eq=False)
class WeightsUpdate(Update):
    """The same weights everywhere.

    Attributes
    ----------
    weights : (member, member) array
        D.
    freedom : float
        Degrees of freedom that the observations take.
    """

    weights: Array = field(kw_only=True)
    freedom: float = field(kw_only=True)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part."""
        anomalies = part.values - member_mean(part.values)
        return part.values + combine(anomalies, self.weights), {}

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """The same at each position."""
        return like(np.full(len(positions), self.freedom), self.weights)


def combine(anomalies: Array, weights: Array) -> Array:
    """``sum_k A_k D_kj``, ``(member, entry)``: for each entry one fixed sequence of operations on the host."""
    if not is_host(anomalies):
        xp = namespace(anomalies)
        return xp.matmul(xp.astype(weights, anomalies.dtype, copy=False).T, anomalies)
    from ensf.filters.loops import combine_columns

    increments = np.empty_like(anomalies)
    combine_columns(anomalies, np.ascontiguousarray(weights, dtype=np.float64), increments)
    return increments


def precise(array: Array) -> Array:
    """The array in double precision on the host, as it is elsewhere."""
    return array.astype(np.float64, copy=False) if is_host(array) else array


def spectrum(whitened: Array, departures: Array) -> tuple[Array, Array, Array]:
    """Directions in which the observations know something of the members.

    Parameters
    ----------
    whitened : (member, observation) array
        S.
    departures : (observation,) or (observation, column) array
        d, whitened.

    Returns
    -------
    vectors : (member, direction) array
        Q, orthonormal.
    values : (direction,) array
        l with ``S S^T = Q diag(l) Q^T``; directions that are left out have 0.
    pulls : (direction,) or (direction, column) array
        ``Q^T S d``.
    """
    xp = namespace(whitened)
    whitened, departures = precise(whitened), precise(departures)
    if whitened.shape[0] <= whitened.shape[1] and float(xp.sum(whitened * whitened)) <= ACCURATE:
        values, vectors = xp.linalg.eigh(xp.matmul(whitened, whitened.T))
        return vectors, xp.clip(values, 0.0, None), xp.matmul(vectors.T, xp.matmul(whitened, departures))
    vectors, singular, right = xp.linalg.svd(whitened, full_matrices=False)
    pulls = xp.matmul(right, departures)
    return vectors, singular * singular, (singular[:, None] if pulls.ndim > 1 else singular) * pulls
