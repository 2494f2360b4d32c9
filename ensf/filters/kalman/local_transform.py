"""The local ensemble transform: at every place a symmetric square root in the space of the members.

With J members, a place with patch weights rho_k has, in ensemble coordinates (x = m + A^T w / sqrt(J-1)),

    G = S diag(rho) S^T = Q diag(l) Q^T,      p = S diag(rho) d,
    S = R^{-1/2} (h(x_j) - mean) / sqrt(J-1)  (member x observation),    d = R^{-1/2} (y - mean of h(x_j)),

and its analysis deviations from the prior mean are, for each state variable there with prior anomalies a,

    a' = Q (1 + l)^{-1/2} Q^T a  +  a^T Q (1 + l)^{-1} Q^T p / sqrt(J-1).

This is Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112, eqs. 20 to 24, with the precision of observation k
multiplied by rho_k. The sum of l/(1+l) is the number of degrees of freedom that a place takes from observations.
Where a place sees fewer observations than members, or accurate ones, the same is written in the directions of the
observations, Q diag(l)^{1/2} = S V, which loses no digits.

NumPy arrays go through compiled loops, parallel over places: many places in lockstep (`ensf.filters.kalman.lockstep`),
which need no eigenvectors, those with accurate observations by LAPACK. Other arrays go through batched array code.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays import SMALL, Array, blas_threads, is_host, like, namespace
from ensf.filters.kalman.rational import CLASSES, rule
from ensf.filters.weights import ACCURATE
from ensf.localization import Patches
from ensf.localization.lockstep import grouped_by_size, shared_out

__all__ = ["local_transform"]

BLOCK = 2**24  # numbers gathered at once by the array code


def local_transform(anomalies: Array, predicted: Array, innovation: Array, patches: Patches) -> tuple[Array, Array]:
    """Analysis members minus prior members.

    Parameters
    ----------
    anomalies : (member, state) array
        Prior anomalies.
    predicted : (member, observation) array
        S: whitened predicted anomalies divided by ``sqrt(J - 1)``.
    innovation : (observation,) array
        d: whitened.
    patches : Patches

    Returns
    -------
    increment : (member, state) array
    degrees_of_freedom : (state,) array
        Sum of l/(1+l) at the place of each state variable.
    """
    rows = namespace(predicted).concat([predicted, innovation[None, :]]).T
    if not is_host(anomalies):
        return _batched(anomalies, rows, patches)
    return on_host(anomalies / math.sqrt(len(anomalies) - 1), rows, 0.0, 1.0, patches)


def on_host(
    anomalies: np.ndarray, rows: np.ndarray, start: float, end: float, patches: Patches
) -> tuple[np.ndarray, np.ndarray]:
    """The step of `ensf.filters.letsf.flow`, compiled; this transform is the one from alpha = 0 to 1."""
    from ensf.localization.loops import describe_places

    members, places = len(anomalies), len(patches.variables)
    wide = np.ascontiguousarray(anomalies, dtype=np.float64)
    rows = np.ascontiguousarray(rows, dtype=np.float64)
    increment, freedom = np.empty_like(wide), np.empty(wide.shape[1])
    information, count = np.empty(places), np.empty(places, dtype=np.int64)
    describe_places(rows, members, patches.indptr, patches.weight, patches.index, information, count)
    problem = wide, rows, patches.variables, patches.indptr, patches.index, patches.weight, start, end
    lockstep = (information <= ACCURATE) & (count > 0) & (not patches.everywhere)
    if lockstep.any():
        from ensf.filters.kalman.lockstep import batches

        classes = np.minimum(np.searchsorted(CLASSES, 1 + information), len(CLASSES) - 1)
        terms = (*rule(start, end), classes)
        groups = grouped_by_size(count, members, lockstep)
        shared_out(lambda part: batches(*problem, terms, part, increment, freedom), groups)
    if not lockstep.all():
        from ensf.filters.kalman import loops

        others = np.flatnonzero(~lockstep)
        loop = loops.places if len(others) * members**3 < SMALL else loops.places_in_parallel
        with blas_threads(patches.largest * members**2):
            loop(*problem, others, increment, freedom)
    return increment.astype(anomalies.dtype, copy=False), freedom.astype(anomalies.dtype, copy=False)


# --- batched array code ----------------------------------------------------------------------------------


def _batched(anomalies: Array, rows: Array, patches: Patches) -> tuple[Array, Array]:
    xp = namespace(anomalies)
    index, weight = patches.padded
    root = np.sqrt(weight)
    step = max(1, BLOCK // (index.shape[1] * rows.shape[1]))
    parts = []
    for first in range(0, len(index), step):
        variables = patches.variables[first : first + step]
        local = xp.take(anomalies, like(variables.ravel(), anomalies), axis=1)
        local = xp.reshape(local.T, (*variables.shape, -1))
        near = like(index[first : first + step], rows), like(root[first : first + step], rows)
        parts.append(_block(local, rows, *near))
    order = like(patches.slots, anomalies)
    increment, freedom = (xp.take(xp.concat(part), order, axis=0) for part in zip(*parts, strict=True))
    return increment.T, freedom


def _block(anomalies: Array, rows: Array, index: Array, root: Array) -> tuple[Array, Array]:
    """Increments ``(place * variable, member)`` of anomalies ``(place, variable, member)``."""
    xp = namespace(anomalies)
    members = anomalies.shape[-1]
    local = xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=0), (*index.shape, -1)) * root[..., None]
    values, vectors, pulls = place_spectrum(local[..., :members], local[..., members:])
    values = values[:, None, :]
    growth = xp.sqrt(1 + values)
    along = xp.matmul(anomalies, vectors)
    shift = xp.sum(along * xp.matrix_transpose(pulls) / (1 + values), axis=-1, keepdims=True) / math.sqrt(members - 1)
    shrink = xp.matmul(along * (-values / (growth * (1 + growth))), xp.matrix_transpose(vectors))
    freedom = xp.broadcast_to(xp.sum(values / (1 + values), axis=-1), anomalies.shape[:2])
    return xp.reshape(shrink + shift, (-1, members)), xp.reshape(freedom, (-1,))


def place_spectrum(local: Array, others: Array) -> tuple[Array, Array, Array]:
    """Eigenvalues, orthonormal Q, and ``Q^T S others`` of each place, from S itself where observations are accurate.

    Parameters
    ----------
    local : (place, observation, member) array
        S, transposed.
    others : (place, observation, column) array
    """
    xp = namespace(local)
    if float(xp.max(xp.sum(local * local, axis=(-2, -1)))) > ACCURATE:
        left, singular, vectors = xp.linalg.svd(local, full_matrices=False)
        pulls = singular[..., None] * xp.matmul(xp.matrix_transpose(left), others)
        return singular * singular, xp.matrix_transpose(vectors), pulls
    products = xp.matmul(xp.matrix_transpose(local), xp.concat([local, others], axis=-1))
    members = local.shape[-1]
    values, vectors = xp.linalg.eigh(products[..., :members])
    return xp.clip(values, 0.0, None), vectors, xp.matmul(xp.matrix_transpose(vectors), products[..., members:])
