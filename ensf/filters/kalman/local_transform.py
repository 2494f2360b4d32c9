"""The local ensemble transform: at every place a symmetric square root in the space of the members.

With J members, a place with patch weights rho_k has, in ensemble coordinates (x = m + A^T w / sqrt(J-1)),

    G = S diag(rho) S^T = Q diag(l) Q^T,      p = S diag(rho) d,
    S = R^{-1/2} (h(x_j) - mean) / sqrt(J-1)  (member x observation),    d = R^{-1/2} (y - mean of h(x_j)),

and its analysis deviations from the prior mean are, for each state variable there with prior anomalies a,

    a' = Q (1 + l)^{-1/2} Q^T a  +  a^T Q (1 + l)^{-1} Q^T p / sqrt(J-1).

This is Hunt, Kostelich & Szunyogh (2007), Physica D 230, 112, eqs. 20 to 24, with the precision of observation k
multiplied by rho_k. The sum of l/(1+l) is the number of degrees of freedom that a place takes from observations.

NumPy arrays go through a compiled loop, parallel over places; other arrays through batched array code.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from ensf.arrays import SMALL, Array, blas_threads, is_host, like, namespace
from ensf.localization import Patches

__all__ = ["local_transform"]

BLOCK = 2**24  # numbers gathered at once by the array code


def local_transform(anomalies: Array, seen: Array, innovation: Array, patches: Patches) -> tuple[Array, Array]:
    """Analysis deviations from the prior mean.

    Parameters
    ----------
    anomalies : (member, state) array
        Prior anomalies.
    seen : (member, observation) array
        S: whitened predicted anomalies divided by ``sqrt(J - 1)``.
    innovation : (observation,) array
        d: whitened.
    patches : Patches

    Returns
    -------
    deviations : (member, state) array
        Analysis members minus prior mean.
    degrees_of_freedom : (state,) array
        Sum of l/(1+l) at the place of each state variable.
    """
    rows = namespace(seen).concat([seen, innovation[None, :]]).T
    if not is_host(anomalies):
        return _batched(anomalies, rows, patches)
    deviations = np.empty_like(anomalies)
    freedom = np.empty(anomalies.shape[1], dtype=anomalies.dtype)
    work = len(patches.variables) * len(anomalies) ** 3
    places = _places if work < SMALL else _places_in_parallel
    with blas_threads(work):
        places(anomalies, np.ascontiguousarray(rows), patches.variables, patches.indptr, patches.index,
               patches.weight, deviations, freedom)  # fmt: skip
    return deviations, freedom


# --- compiled, parallel over places ----------------------------------------------------------------------


@numba.njit(cache=True)
def _places(anomalies, rows, variables, indptr, index, weight, deviations, freedom):
    for i in range(variables.shape[0]):
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], deviations, freedom)


@numba.njit(cache=True, parallel=True)
def _places_in_parallel(anomalies, rows, variables, indptr, index, weight, deviations, freedom):
    for i in numba.prange(variables.shape[0]):
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], deviations, freedom)


@numba.njit(cache=True)
def _place(anomalies, rows, variables, index, weight, deviations, freedom):
    """Write the analysis deviations of one place, computed in double precision."""
    size = anomalies.shape[0]
    local = np.empty((index.size, size + 1))
    for k in range(index.size):
        local[k] = math.sqrt(weight[k]) * rows[index[k]]
    products = np.dot(local.T, local)
    values, vectors = np.linalg.eigh(products[:size, :size].copy())
    values = np.maximum(values, 0.0)
    pull = products[size, :size].copy()
    for n, v in enumerate(variables):
        if n > 0 and v == variables[0]:
            break
        freedom[v] = np.sum(values / (1 + values))
        _transform(anomalies[:, v], values, vectors, pull, deviations[:, v])


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def _transform(anomalies, values, vectors, pull, deviations):
    """Write the analysis deviations of one state variable."""
    size = values.size
    result = np.zeros(size)
    shift = 0.0
    for k in range(size):
        along, pulled = 0.0, 0.0
        for j in range(size):
            along += vectors[j, k] * anomalies[j]
            pulled += vectors[j, k] * pull[j]
        shift += along * pulled / (1 + values[k])
        along /= math.sqrt(1 + values[k])
        for j in range(size):
            result[j] += along * vectors[j, k]
    for j in range(size):
        deviations[j] = result[j] + shift / math.sqrt(size - 1)


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
    deviations, freedom = (xp.take(xp.concat(part), order, axis=0) for part in zip(*parts, strict=True))
    return deviations.T, freedom


def _block(anomalies: Array, rows: Array, index: Array, root: Array) -> tuple[Array, Array]:
    """Analysis deviations ``(place * variable, member)`` of anomalies ``(place, variable, member)``."""
    xp = namespace(anomalies)
    members = anomalies.shape[-1]
    local = xp.reshape(xp.take(rows, xp.reshape(index, (-1,)), axis=0), (*index.shape, -1)) * root[..., None]
    products = xp.matmul(xp.matrix_transpose(local), local)
    values, vectors = xp.linalg.eigh(products[:, :members, :members])
    values = xp.clip(values, 0.0, None)[:, None, :]
    along = xp.matmul(anomalies, vectors)
    pulled = xp.matmul(products[:, members:, :members], vectors)
    shift = xp.sum(along * pulled / (1 + values), axis=-1, keepdims=True) / math.sqrt(members - 1)
    result = xp.matmul(along / xp.sqrt(1 + values), xp.matrix_transpose(vectors)) + shift
    freedom = xp.broadcast_to(xp.sum(values / (1 + values), axis=-1), anomalies.shape[:2])
    return xp.reshape(result, (-1, members)), xp.reshape(freedom, (-1,))
