"""Compiled loops over the entries of the state; imported where they are called, for Numba takes its time."""

from __future__ import annotations

import numba
import numpy as np

from ensf.kernels import compiled

BLOCK = 512


@compiled(nogil=True)
def _combine_block(anomalies, weights, start, stop, increments):
    """For every entry: members in order, products added one after another, in double precision."""
    members = anomalies.shape[0]
    total = np.empty(stop - start)
    for j in range(weights.shape[1]):
        total[:] = 0.0
        for k in range(members):
            weight = weights[k, j]
            for i in range(stop - start):
                total[i] += weight * anomalies[k, start + i]
        for i in range(stop - start):
            increments[j, start + i] = total[i]


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
