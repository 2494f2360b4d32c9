"""Compiled loops over the entries of the state; imported where they are called, for Numba takes its time."""

from __future__ import annotations

import numba
import numpy as np

from ensf.arrays.kernels import compiled

BLOCK = 512


@compiled(nogil=True)
def _combine_block(anomalies, weights, start, stop, increments):
    """For every entry: members in order, products added one after another, in double precision.

    Four columns and four members at a time, so that a number that was loaded is used more than once.
    """
    last, size = weights.shape[1] - 1, stop - start
    together = anomalies.shape[0] // 4 * 4
    one, two, three, four = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    for j in range(0, last + 1, 4):
        m, n, o = min(j + 1, last), min(j + 2, last), min(j + 3, last)
        one[:], two[:], three[:], four[:] = 0.0, 0.0, 0.0, 0.0
        for k in range(0, together, 4):
            u0, u1, u2, u3 = weights[k, j], weights[k + 1, j], weights[k + 2, j], weights[k + 3, j]
            v0, v1, v2, v3 = weights[k, m], weights[k + 1, m], weights[k + 2, m], weights[k + 3, m]
            w0, w1, w2, w3 = weights[k, n], weights[k + 1, n], weights[k + 2, n], weights[k + 3, n]
            x0, x1, x2, x3 = weights[k, o], weights[k + 1, o], weights[k + 2, o], weights[k + 3, o]
            for i in range(size):
                a0, a1 = anomalies[k, start + i], anomalies[k + 1, start + i]
                a2, a3 = anomalies[k + 2, start + i], anomalies[k + 3, start + i]
                one[i] = one[i] + u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3
                two[i] = two[i] + v0 * a0 + v1 * a1 + v2 * a2 + v3 * a3
                three[i] = three[i] + w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3
                four[i] = four[i] + x0 * a0 + x1 * a1 + x2 * a2 + x3 * a3
        for k in range(together, anomalies.shape[0]):
            for i in range(size):
                a0 = anomalies[k, start + i]
                one[i] += weights[k, j] * a0
                two[i] += weights[k, m] * a0
                three[i] += weights[k, n] * a0
                four[i] += weights[k, o] * a0
        for i in range(size):
            increments[j, start + i], increments[m, start + i] = one[i], two[i]
            increments[n, start + i], increments[o, start + i] = three[i], four[i]


@compiled(parallel=True)
def _combine_in_parallel(anomalies, weights, increments):
    blocks = (anomalies.shape[1] + BLOCK - 1) // BLOCK
    for block in numba.prange(blocks):
        start = block * BLOCK
        _combine_block(anomalies, weights, start, min(start + BLOCK, anomalies.shape[1]), increments)


def combine_columns(anomalies, weights, increments):
    """Write ``sum_k A_k D_kj`` for every entry."""
    if anomalies.shape[1] <= 64 * BLOCK:
        _combine_block(anomalies, weights, 0, anomalies.shape[1], increments)
    else:
        _combine_in_parallel(anomalies, weights, increments)


@compiled(nogil=True)
def _whiten_place(correlation, rows, index, weight, white):
    """``C^-1 r`` with ``C C^T`` the correlation of some observations and r their tapered rows, one row after another.

    Row k of C takes row k of the result with it; false if the correlation is not positive definite.
    """
    count, columns = len(index), rows.shape[1]
    factor = np.empty((count, count))
    for k in range(count):
        for i in range(k):
            total = correlation[index[k], index[i]]
            for m in range(i):
                total -= factor[k, m] * factor[i, m]
            factor[k, i] = total / factor[i, i]
        square = correlation[index[k], index[k]]
        for m in range(k):
            square -= factor[k, m] * factor[k, m]
        if not square > 0.0:
            return False
        factor[k, k] = np.sqrt(square)
        root = np.sqrt(weight[k])
        for j in range(columns):
            white[k, j] = root * rows[index[k], j]
        for m in range(k):
            for j in range(columns):
                white[k, j] -= factor[k, m] * white[m, j]
        for j in range(columns):
            white[k, j] /= factor[k, k]
    return True


@compiled(parallel=True)
def whiten_places(correlation, rows, indptr, index, weight, white):
    """Write the whitened rows of each place, whose pairs begin at ``indptr[place]``; false if one has none."""
    places = len(indptr) - 1
    done = np.ones(places, dtype=np.bool_)
    for place in numba.prange(places):
        near = slice(indptr[place] - indptr[0], indptr[place + 1] - indptr[0])
        done[place] = _whiten_place(correlation, rows, index[near], weight[near], white[near])
    return done.all()
