"""Compiled loops over places and pairs; imported where they are called, for Numba takes its time."""

from __future__ import annotations

import numpy as np

from ensf.arrays.kernels import compiled
from ensf.localization import pieces
from ensf.localization.lanes import WIDTH, store
from ensf.localization.tridiagonal import BLOCK, form, trace_of_freedom

inner = compiled()(pieces.inner)
outer = compiled(error_model="numpy")(pieces.outer)

ACCURATE = 1e10
"""Information (trace of G) from which I + G loses the degrees of freedom to rounding, and then its Cholesky factor."""


@compiled(error_model="numpy")
def taper(r):
    """Overwrite distances in half-widths with the taper of Gaspari & Cohn."""
    for k in range(r.size):
        if r[k] < 1:
            r[k] = inner(r[k])
        elif r[k] < 2:
            r[k] = max(outer(r[k]), 0.0)
        else:
            r[k] = 0.0


@compiled()
def describe_places(rows, members, indptr, weight, index, information, count):
    """Write the information (trace of G) at every place, and how many of its observations weigh something."""
    norm = np.zeros(rows.shape[0])
    for k in range(rows.shape[0]):
        for j in range(members):
            norm[k] += rows[k, j] ** 2
    for i in range(information.size):
        information[i], count[i] = 0.0, 0
        for pair in range(indptr[i], indptr[i + 1]):
            information[i] += weight[pair] * norm[index[pair]]
            count[i] += weight[pair] > 0


@compiled(nogil=True)
def squared_correlations(entries, columns, square):
    """Write the squared correlation of anomalies, a row each, of every entry with every column; 0 without spread."""
    power = np.zeros(columns.shape[0])
    for k in range(columns.shape[0]):
        for j in range(columns.shape[1]):
            power[k] += columns[k, j] ** 2
    for i in range(entries.shape[0]):
        own = 0.0
        for j in range(entries.shape[1]):
            own += entries[i, j] ** 2
        for k in range(columns.shape[0]):
            shared = 0.0
            for j in range(entries.shape[1]):
                shared += entries[i, j] * columns[k, j]
            square[i, k] = shared * shared / (own * power[k]) if own > 0.0 and power[k] > 0.0 else 0.0


@compiled(nogil=True)
def freedom_in_lockstep(rows, indptr, index, weight, count, groups, freedom):
    """Write the degrees of freedom of the places of groups."""
    members = rows.shape[1]
    taken = np.empty(WIDTH)
    for i in range(groups.shape[0]):
        group = groups[i]
        most = 0
        for lane in range(WIDTH):
            if group[lane] >= 0:
                most = max(most, count[group[lane]])
        size = members if count[group[0]] >= members else most
        local = np.empty((min(most, BLOCK) if size == members else most) * members * WIDTH)
        matrix = np.empty(size * size * WIDTH)
        diagonal, beside, scale = np.empty(size * WIDTH), np.empty(size * WIDTH), np.empty(size * WIDTH)
        work, product = np.empty(size * WIDTH), np.empty(size * WIDTH)
        form(
            rows, members, indptr, index, weight, group, most, size,
            local, matrix, diagonal, beside, scale, work, product,
        )  # fmt: skip
        store(taken, 0, trace_of_freedom(diagonal, beside, size, work))
        for lane in range(WIDTH):
            if group[lane] >= 0:
                freedom[group[lane]] = taken[lane]


@compiled()
def freedom_of_places(rows, indptr, index, weight, chosen, freedom):
    """Write the degrees of freedom of some places."""
    for i in chosen:
        near = slice(indptr[i], indptr[i + 1])
        freedom[i] = _freedom(rows, index[near], weight[near])


@compiled()
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


@compiled()
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
