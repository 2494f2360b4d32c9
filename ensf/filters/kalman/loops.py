"""The exact step of the score flow by eigenvectors, compiled, parallel over places."""

from __future__ import annotations

import math

import numba
import numpy as np

from ensf.arrays.kernels import compiled

ACCURATE = 2e6  # as in ensf.filters.weights; a test compares


@compiled()
def places(anomalies, rows, variables, indptr, index, weight, start, end, chosen, increment, freedom):
    for i in chosen:
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], start, end, increment, freedom)


@compiled(parallel=True)
def places_in_parallel(anomalies, rows, variables, indptr, index, weight, start, end, chosen, increment, freedom):
    for n in numba.prange(chosen.size):
        i = chosen[n]
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], start, end, increment, freedom)


@compiled()
def _place(anomalies, rows, variables, index, weight, start, end, increment, freedom):
    """Write the change of the variables of one place, computed in double precision."""
    members = anomalies.shape[0]
    local = np.empty((index.size, rows.shape[1]))
    information = 0.0
    for k in range(index.size):
        local[k] = math.sqrt(weight[k]) * rows[index[k]]
        for j in range(members):
            information += local[k, j] ** 2
    if index.size == 0:
        for v in variables:
            freedom[v] = 0.0
            increment[:, v] = 0.0
        return
    if index.size >= members and information <= ACCURATE:
        products = np.dot(local[:, :members].copy().T, local)
        values, vectors = np.linalg.eigh(products[:, :members].copy())
        values = np.maximum(values, 0.0)
        vectors = np.ascontiguousarray(vectors)
        along = np.dot(vectors.T.copy(), products[:, members:].copy())
        unmoved = vectors.T * values.reshape(-1, 1)
    else:
        anomalous = local[:, :members].copy()
        if information <= ACCURATE:
            values, right = np.linalg.eigh(np.dot(anomalous, anomalous.T))
            values = np.maximum(values, 0.0)
        else:
            right, singular, _ = np.linalg.svd(anomalous, False)
            values = singular**2
        right = np.ascontiguousarray(right)
        vectors = np.dot(anomalous.T, right)
        along = np.dot(right.T.copy(), local[:, members:].copy())
        unmoved = vectors.T
    moved = np.empty((values.size, members))
    displaces = along.shape[1] > members
    departures = along.shape[1] - members if displaces else along.shape[1]
    for k in range(values.size):
        pull, memory = _coefficients(values[k], start, end)
        for j in range(members):
            displaced = along[k, departures + j] if displaces else math.sqrt(members - 1) * unmoved[k, j]
            moved[k, j] = pull * along[k, j if departures > 1 else 0] + memory * displaced
    weights = np.dot(vectors, moved)
    for n, v in enumerate(variables):
        if n > 0 and v == variables[0]:
            break
        freedom[v] = np.sum(values / (1 + values))
        increment[:, v] = np.dot(weights.T, anomalies[:, v].astype(np.float64))


@compiled()
def _coefficients(eigenvalue, start, end):
    """Factors of b and of l c_0 in c_1 - c_0; the second has the limit -(end^2 - start^2) / 2 at eigenvalue 0."""
    v0, v1 = 1 + (1 - start**2) * eigenvalue, 1 + (1 - end**2) * eigenvalue
    ratio = math.sqrt(v1 / v0)
    return (end - start * ratio) / (1 + eigenvalue), -(end**2 - start**2) / (v0 * (1 + ratio))
