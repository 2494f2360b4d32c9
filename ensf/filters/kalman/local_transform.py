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

NumPy arrays go through a compiled loop, parallel over places; other arrays through batched array code.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays import SMALL, Array, blas_threads, is_host, like, namespace
from ensf.filters.weights import ACCURATE
from ensf.localization import Patches

__all__ = ["local_transform"]

BLOCK = 2**24  # numbers gathered at once by the array code


def local_transform(anomalies: Array, predicted: Array, innovation: Array, patches: Patches) -> tuple[Array, Array]:
    """Analysis deviations from the prior mean.

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
    deviations : (member, state) array
        Analysis members minus prior mean.
    degrees_of_freedom : (state,) array
        Sum of l/(1+l) at the place of each state variable.
    """
    rows = namespace(predicted).concat([predicted, innovation[None, :]]).T
    if not is_host(anomalies):
        return _batched(anomalies, rows, patches)
    from ensf.filters.kalman import loops

    deviations = np.empty_like(anomalies)
    freedom = np.empty(anomalies.shape[1], dtype=anomalies.dtype)
    places = loops.places if len(patches.variables) * len(anomalies) ** 3 < SMALL else loops.places_in_parallel
    with blas_threads(patches.largest * len(anomalies) ** 2):
        places(anomalies, np.ascontiguousarray(rows), patches.variables, patches.indptr, patches.index,
               patches.weight, deviations, freedom)  # fmt: skip
    return deviations, freedom


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
    values, vectors, pulls = place_spectrum(local[..., :members], local[..., members:])
    values = values[:, None, :]
    growth = xp.sqrt(1 + values)
    along = xp.matmul(anomalies, vectors)
    shift = xp.sum(along * xp.matrix_transpose(pulls) / (1 + values), axis=-1, keepdims=True) / math.sqrt(members - 1)
    shrink = xp.matmul(along * (-values / (growth * (1 + growth))), xp.matrix_transpose(vectors))
    freedom = xp.broadcast_to(xp.sum(values / (1 + values), axis=-1), anomalies.shape[:2])
    return xp.reshape(anomalies + shrink + shift, (-1, members)), xp.reshape(freedom, (-1,))


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
