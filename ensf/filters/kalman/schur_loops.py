"""The gain of each entry, compiled, parallel over places."""

from __future__ import annotations

import numba

from ensf.arrays.kernels import compiled


@compiled(parallel=True)
def gained(anomalies, predicted, pulls, variables, indptr, index, weight, increments):
    """Add the increments of every entry, observations in order."""
    members = anomalies.shape[0]
    for i in numba.prange(variables.shape[0]):
        for n in range(variables.shape[1]):
            v = variables[i, n]
            if n > 0 and v == variables[i, 0]:
                break
            for k in range(indptr[i], indptr[i + 1]):
                covariance = 0.0
                for j in range(members):
                    covariance += predicted[index[k], j] * anomalies[j, v]
                covariance *= weight[k]
                for j in range(members):
                    increments[j, v] += covariance * pulls[index[k], j]
