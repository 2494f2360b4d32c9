"""The Gram matrix of places and its tridiagonal form, compiled, `WIDTH` places in lockstep.

With S the tapered rows of a place, G = S^T S ``(member, member)``, or K = S S^T where observations are fewer, is
Q T Q^T. Householder's reflections, whose product is Q, are kept.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays.kernels import compiled
from ensf.localization.lanes import WIDTH, lanes, load, root, store, where_positive

__all__ = ["BLOCK", "form", "trace_of_freedom"]

BLOCK = 16
"""Observations whose rows stay in the processor's first cache."""


@compiled()
def form(
    rows, members, indptr, index, weight, group, most, size, local, matrix, diagonal, beside, scale, work, product
):
    """Tridiagonal form of G, if `size` is the number of members, else of K, for the places of a group.

    The tapered rows are left in `local` ``(observation, member, lane)`` if that has room for all; for G it may have
    room for `BLOCK` observations alone.
    """
    cursor, stop = np.zeros(WIDTH, np.int64), np.zeros(WIDTH, np.int64)
    for lane in range(WIDTH):
        if group[lane] >= 0:
            cursor[lane], stop[lane] = indptr[group[lane]], indptr[group[lane] + 1]
    for k in range(size * size * WIDTH):
        matrix[k] = 0.0
    if size == members:
        keeps = local.size >= most * members * WIDTH
        for first in range(0, most, BLOCK):
            count = min(BLOCK, most - first)
            part = local[first * members * WIDTH if keeps else 0 :]
            _gather(rows, members, index, weight, cursor, stop, count, part)
            _add_gram(part, size, count, WIDTH, members * WIDTH, matrix)
    else:
        _gather(rows, members, index, weight, cursor, stop, most, local)
        _add_gram(local, size, members, members * WIDTH, WIDTH, matrix)
    _tridiagonal(matrix, size, diagonal, beside, scale, work, product)


@compiled()
def _gather(rows, members, index, weight, cursor, stop, count, local):
    """Write the next rows of each place, times the root of the taper, and 0 where it has no more."""
    for lane in range(WIDTH):
        pair, k = cursor[lane], 0
        while k < count and pair < stop[lane]:
            if weight[pair] > 0:
                taper, row, first = math.sqrt(weight[pair]), index[pair], k * members * WIDTH + lane
                for j in range(members):
                    local[first + j * WIDTH] = taper * rows[row, j]
                k += 1
            pair += 1
        cursor[lane] = pair
        for beyond in range(k * members, count * members):
            local[beyond * WIDTH + lane] = 0.0


@compiled()
def _add_gram(local, size, inner, step, inner_step, matrix):
    """Add to the lower triangle the products of `size` vectors that stand `step` apart, over `inner` numbers."""
    for i in range(0, size, 2):
        i_next = min(i + 1, size - 1)
        for j in range(0, i + 1, 2):
            j_next = min(j + 1, size - 1)
            a, b = load(matrix, (i * size + j) * WIDTH), load(matrix, (i * size + j_next) * WIDTH)
            c, d = load(matrix, (i_next * size + j) * WIDTH), load(matrix, (i_next * size + j_next) * WIDTH)
            for k in range(inner):
                first = k * inner_step
                left, below = load(local, first + i * step), load(local, first + i_next * step)
                right, beside = load(local, first + j * step), load(local, first + j_next * step)
                a = a + left * right
                b = b + left * beside
                c = c + below * right
                d = d + below * beside
            store(matrix, (i * size + j) * WIDTH, a)
            store(matrix, (i * size + j_next) * WIDTH, b)
            store(matrix, (i_next * size + j) * WIDTH, c)
            store(matrix, (i_next * size + j_next) * WIDTH, d)


@compiled()
def _tridiagonal(matrix, size, diagonal, beside, scale, vector, product):
    """Householder's form of the lower triangle; reflections 1 - scale v v^T stay in the columns of the matrix."""
    two = lanes(2.0)
    for k in range(size - 2):
        store(diagonal, k * WIDTH, load(matrix, (k * size + k) * WIDTH))
        head = load(matrix, ((k + 1) * size + k) * WIDTH)
        below = lanes(0.0)
        for i in range(k + 2, size):
            value = load(matrix, (i * size + k) * WIDTH)
            store(vector, i * WIDTH, value)
            store(product, i * WIDTH, lanes(0.0))
            below = below + value * value
        norm = root(head * head + below)
        norm = where_positive(head, lanes(0.0) - norm, norm)
        first = head - norm
        factor = where_positive(below, two / (first * first + below), lanes(0.0))
        store(beside, k * WIDTH, where_positive(below, norm, head))
        store(scale, k * WIDTH, factor)
        store(matrix, ((k + 1) * size + k) * WIDTH, first)
        store(vector, (k + 1) * WIDTH, first)
        store(product, (k + 1) * WIDTH, lanes(0.0))
        for i in range(k + 1, size):
            row, here = i * size * WIDTH, load(vector, i * WIDTH)
            total = load(matrix, row + i * WIDTH) * here
            for j in range(k + 1, i):
                value = load(matrix, row + j * WIDTH)
                total = total + value * load(vector, j * WIDTH)
                store(product, j * WIDTH, load(product, j * WIDTH) + value * here)
            store(product, i * WIDTH, load(product, i * WIDTH) + total)
        overlap = lanes(0.0)
        for i in range(k + 1, size):
            value = factor * load(product, i * WIDTH)
            store(product, i * WIDTH, value)
            overlap = overlap + value * load(vector, i * WIDTH)
        overlap = overlap * factor / two
        for i in range(k + 1, size):
            store(product, i * WIDTH, load(product, i * WIDTH) - overlap * load(vector, i * WIDTH))
        for i in range(k + 1, size):
            row, here, change = i * size * WIDTH, load(vector, i * WIDTH), load(product, i * WIDTH)
            for j in range(k + 1, i + 1):
                moved = here * load(product, j * WIDTH) + change * load(vector, j * WIDTH)
                store(matrix, row + j * WIDTH, load(matrix, row + j * WIDTH) - moved)
    for k in range(max(0, size - 2), size):
        store(diagonal, k * WIDTH, load(matrix, (k * size + k) * WIDTH))
        if k + 1 < size:
            store(beside, k * WIDTH, load(matrix, ((k + 1) * size + k) * WIDTH))


@compiled()
def trace_of_freedom(diagonal, beside, size, forward):
    """Trace of ``T (1 + T)^{-1}``, without a difference of large numbers."""
    one = lanes(1.0)
    excess = load(diagonal, 0)
    store(forward, 0, excess)
    for k in range(1, size):
        off = load(beside, (k - 1) * WIDTH)
        excess = load(diagonal, k * WIDTH) - off * off / (one + excess)
        store(forward, k * WIDTH, excess)
    total = excess / (one + excess)
    backward = load(diagonal, (size - 1) * WIDTH)
    for k in range(size - 2, -1, -1):
        off = load(beside, k * WIDTH)
        beyond = off * off / (one + backward)
        backward = load(diagonal, k * WIDTH) - beyond
        excess = load(forward, k * WIDTH) - beyond
        total = total + excess / (one + excess)
    return total
