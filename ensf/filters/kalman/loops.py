"""The local ensemble transform, compiled, parallel over places."""

from __future__ import annotations

import math

import numba
import numpy as np

ACCURATE = 2e6  # as in ensf.filters.weights; a test compares


@numba.njit(cache=True)
def places(anomalies, rows, variables, indptr, index, weight, deviations, freedom):
    for i in range(variables.shape[0]):
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], deviations, freedom)


@numba.njit(cache=True, parallel=True)
def places_in_parallel(anomalies, rows, variables, indptr, index, weight, deviations, freedom):
    for i in numba.prange(variables.shape[0]):
        near = slice(indptr[i], indptr[i + 1])
        _place(anomalies, rows, variables[i], index[near], weight[near], deviations, freedom)


@numba.njit(cache=True)
def _place(anomalies, rows, variables, index, weight, deviations, freedom):
    """Write the analysis deviations of one place, computed in double precision."""
    size = anomalies.shape[0]
    local = np.empty((index.size, size))
    pull = np.empty(index.size)
    information = 0.0
    for k in range(index.size):
        root = math.sqrt(weight[k])
        for j in range(size):
            local[k, j] = root * rows[index[k], j]
            information += local[k, j] ** 2
        pull[k] = root * rows[index[k], size]
    if index.size >= size and information <= ACCURATE:
        values, vectors = np.linalg.eigh(np.dot(local.T, local))
        values = np.maximum(values, 0.0)
        vectors = np.ascontiguousarray(vectors)
        pulled = np.dot(vectors.T.copy(), np.dot(local.T, pull))
        along_observations = False
    elif index.size == 0:
        values, vectors, pulled = np.zeros(1), np.zeros((size, 1)), np.zeros(1)
        along_observations = True
    else:
        if information <= ACCURATE:
            values, right = np.linalg.eigh(np.dot(local, local.T))
            values = np.maximum(values, 0.0)
        else:
            right, singular, _ = np.linalg.svd(local, False)
            values = singular**2
        right = np.ascontiguousarray(right)
        vectors = np.dot(local.T, right)
        pulled = np.dot(right.T.copy(), pull)
        along_observations = True
    for n, v in enumerate(variables):
        if n > 0 and v == variables[0]:
            break
        freedom[v] = np.sum(values / (1 + values))
        _transform(anomalies[:, v], values, vectors, pulled, along_observations, deviations[:, v])


@numba.njit(cache=True)
def _transform(anomalies, values, vectors, pulled, along_observations, deviations):
    """Write the analysis deviations of one state variable; vectors are Q, or Q diag(l)^{1/2} with pulls alike."""
    size = anomalies.size
    result = np.zeros(size)
    shift = 0.0
    for k in range(values.size):
        along = 0.0
        for j in range(size):
            along += vectors[j, k] * anomalies[j]
        shift += along * pulled[k] / (1 + values[k])
        growth = math.sqrt(1 + values[k])
        along *= -1 / (growth * (1 + growth)) if along_observations else 1 / growth
        for j in range(size):
            result[j] += along * vectors[j, k]
    for j in range(size):
        kept = anomalies[j] if along_observations else 0.0
        deviations[j] = kept + result[j] + shift / math.sqrt(size - 1)
