"""Compiled loops over places and pairs; imported where they are called, for Numba takes its time."""

from __future__ import annotations

import numba
import numpy as np

from ensf.localization import pieces

inner = numba.njit(cache=True)(pieces.inner)
outer = numba.njit(cache=True, error_model="numpy")(pieces.outer)

ACCURATE = 1e10
"""Information (trace of G) from which I + G loses the degrees of freedom to rounding, and then its Cholesky factor."""


@numba.njit(cache=True, error_model="numpy")
def taper(r):
    """Overwrite distances in half-widths with the taper of Gaspari & Cohn."""
    for k in range(r.size):
        if r[k] < 1:
            r[k] = inner(r[k])
        elif r[k] < 2:
            r[k] = max(outer(r[k]), 0.0)
        else:
            r[k] = 0.0


@numba.njit(cache=True)
def freedom_of_places(rows, indptr, index, weight, freedom):
    """Write the degrees of freedom of every place."""
    for i in range(freedom.size):
        near = slice(indptr[i], indptr[i + 1])
        freedom[i] = _freedom(rows, index[near], weight[near])


@numba.njit(cache=True, parallel=True)
def freedom_of_places_in_parallel(rows, indptr, index, weight, freedom):
    """The same, places shared out among threads."""
    for i in numba.prange(freedom.size):
        near = slice(indptr[i], indptr[i + 1])
        freedom[i] = _freedom(rows, index[near], weight[near])


@numba.njit(cache=True)
def _freedom(rows, index, weight):
    """``tr(I - (I + G)^{-1})`` of one place, by a Cholesky factor; of accurate observations by singular values."""
    members = rows.shape[1]
    local = np.empty((np.count_nonzero(weight), members))
    near = 0
    for k in range(index.size):
        if weight[k] > 0:
            local[near] = np.sqrt(weight[k]) * rows[index[k]]
            near += 1
    gram = np.dot(local.T, local)
    if np.trace(gram) > ACCURATE:
        values = np.linalg.svd(local, full_matrices=False)[1] ** 2
        return np.sum(values / (1 + values))
    factor = np.linalg.cholesky(np.eye(members) + gram)
    return members - _squared_norm_of_inverse(factor)


@numba.njit(cache=True)
def _squared_norm_of_inverse(factor):
    """Sum of the squares of the inverse of a lower triangular matrix, column by column."""
    total, column = 0.0, np.empty(factor.shape[0])
    for j in range(factor.shape[0]):
        column[j] = 1 / factor[j, j]
        total += column[j] ** 2
        for i in range(j + 1, factor.shape[0]):
            inner_product = 0.0
            for k in range(j, i):
                inner_product -= factor[i, k] * column[k]
            column[i] = inner_product / factor[i, i]
            total += column[i] ** 2
    return total
