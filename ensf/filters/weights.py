"""Analyses that are one set of weights of the members, the same at every place.

Member j of the analysis is ``x_j + sum_k A_k D_kj``, with A the anomalies of the prior from its mean.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import array_api_compat
import numpy as np

from ensf.arrays import Array, centred, is_host, like, namespace
from ensf.filters.base import Part, Update

__all__ = ["WeightsUpdate", "combine", "gain", "precise", "spectrum", "symmetric_root"]

ACCURATE = 2e6
"""Information (trace of S S^T) above which eigenvectors of the Gram matrix lose digits, and S itself is decomposed."""


@dataclass(frozen=True, eq=False)
class WeightsUpdate(Update):
    """The same weights everywhere.

    Attributes
    ----------
    weights : tuple of arrays
        Factors of D, ``(member, member)``; two narrow ones where the observations are fewer than the members.
    anomalies : (member, observation) array
        S: whitened, predicted.
    """

    weights: tuple[Array, ...] = field(kw_only=True)
    anomalies: Array = field(kw_only=True)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.anomalies.shape[0]

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part."""
        increments = centred(part.values)
        for factor in self.weights:
            increments = combine(increments, factor)
        return part.values + increments, {}

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """The same at each position: sum of l / (1 + l)."""
        values = spectrum(self.anomalies, self.anomalies[0, :])[1]
        freedom = float(namespace(values).sum(values / (1 + values)))
        return like(np.full(len(positions), freedom), self.anomalies)


def combine(anomalies: Array, weights: Array) -> Array:
    """``sum_k A_k W_kj``, ``(column, entry)``: for each entry one fixed sequence of operations on the host.

    Parameters
    ----------
    anomalies : (member, entry) array
    weights : (member, column) array
    """
    if not is_host(anomalies):
        xp = namespace(anomalies)
        return xp.matmul(xp.astype(weights, anomalies.dtype, copy=False).T, anomalies)
    from ensf.filters.loops import combine_columns

    increments = np.empty((weights.shape[1], anomalies.shape[1]), dtype=anomalies.dtype)
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
        return (
            vectors,
            values * xp.astype(values > 0, values.dtype),
            xp.matmul(vectors.T, xp.matmul(whitened, departures)),
        )
    vectors, singular, right = xp.linalg.svd(whitened, full_matrices=False)
    pulls = xp.matmul(right, departures)
    return vectors, singular * singular, (singular[:, None] if pulls.ndim > 1 else singular) * pulls


def gain(whitened: Array, departures: Array) -> tuple[Array, ...]:
    """Factors of ``(I + S S^T)^{-1} S D``, ``(member, column)``, through the smaller of the two equivalent systems.

    Parameters
    ----------
    whitened : (member, observation) array
        S.
    departures : (observation, column) array
        D, whitened.
    """
    xp = namespace(whitened)
    whitened, departures = precise(whitened), precise(departures)
    if float(xp.sum(whitened * whitened)) > ACCURATE:
        vectors, values, pulls = spectrum(whitened, departures)
        return vectors / (1 + values), pulls
    few = min(whitened.shape)
    identity = xp.eye(few, dtype=whitened.dtype, device=array_api_compat.device(whitened))
    if whitened.shape[0] == few:
        system = identity + xp.matmul(whitened, whitened.T)
        return (xp.linalg.solve(system, xp.matmul(whitened, departures)),)
    return whitened, xp.linalg.solve(identity + xp.matmul(whitened.T, whitened), departures)


def symmetric_root(vectors: Array, values: Array, mean: Array) -> tuple[Array, ...]:
    """Factors of ``Q ((1 + l)^{-1/2} - 1) Q^T`` and, for every member, of the weights of the mean.

    Parameters
    ----------
    vectors : (member, direction) array
        Q.
    values : (direction,) array
        l.
    mean : (member,) array
    """
    xp = namespace(vectors)
    growth = xp.sqrt(1 + values)
    left = xp.concat([vectors * (-values / (growth * (1 + growth))), mean[:, None]], axis=1)
    right = xp.concat([vectors.T, xp.ones_like(mean)[None, :]], axis=0)
    return (left, right) if 2 * left.shape[1] < left.shape[0] else (xp.matmul(left, right),)
