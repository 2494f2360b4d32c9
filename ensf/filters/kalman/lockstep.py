"""The exact step of the flow at `WIDTH` places in lockstep, compiled: the vectors that are asked for, no eigenvectors.

With S = the rows of a place, anomalies a, and psi, phi of `ensf.filters.kalman.rational`, member j moves by

    sum_k (S phi(G) a)_k Y_kj + (S psi(G) a)_k D_kj,        G = S^T S,

where D = sqrt(J - 1) S if it is not there. G, or where observations are fewer than members K = S S^T, for which
S f(G) = f(K) S, is brought to the tridiagonal T = Q^T G Q by Householder's reflections, which are kept and not
multiplied; psi is a sum of solves with shifted T.
"""

from __future__ import annotations

import math

import numpy as np

from ensf.arrays.kernels import compiled
from ensf.localization.lanes import WIDTH, lanes, load, store
from ensf.localization.tridiagonal import form, trace_of_freedom


@compiled()
def _reflect(matrix, size, scale, k, values):
    total = lanes(0.0)
    for i in range(k + 1, size):
        total = total + load(matrix, (i * size + k) * WIDTH) * load(values, i * WIDTH)
    total = total * load(scale, k * WIDTH)
    for i in range(k + 1, size):
        moved = total * load(matrix, (i * size + k) * WIDTH)
        store(values, i * WIDTH, load(values, i * WIDTH) - moved)


@compiled()
def _turn(matrix, size, scale, values):
    """Overwrite values with Q^T values."""
    for k in range(size - 2):
        _reflect(matrix, size, scale, k, values)


@compiled()
def _turn_back(matrix, size, scale, values):
    """Overwrite values with Q values."""
    for k in range(size - 3, -1, -1):
        _reflect(matrix, size, scale, k, values)


@compiled()
def _solve(diagonal, beside, size, shift, factor, values, pivots, forward, total):
    """Add ``factor (T + shift)^{-1} values`` to the total."""
    pivot = lanes(1.0) / (load(diagonal, 0) + shift)
    value = load(values, 0)
    store(pivots, 0, pivot)
    store(forward, 0, value)
    for k in range(1, size):
        off = load(beside, (k - 1) * WIDTH)
        ratio = off * pivot
        pivot = lanes(1.0) / (load(diagonal, k * WIDTH) + shift - off * ratio)
        value = load(values, k * WIDTH) - ratio * value
        store(pivots, k * WIDTH, pivot)
        store(forward, k * WIDTH, value)
    value = value * pivot
    last = (size - 1) * WIDTH
    store(total, last, load(total, last) + factor * value)
    for k in range(size - 2, -1, -1):
        value = (load(forward, k * WIDTH) - load(beside, k * WIDTH) * value) * load(pivots, k * WIDTH)
        store(total, k * WIDTH, load(total, k * WIDTH) + factor * value)


@compiled()
def _times(local, size, inner, values, result):
    """Products of the rows of S ``(size, inner)`` with values."""
    for k in range(size):
        total = lanes(0.0)
        for j in range(inner):
            total = total + load(local, (k * inner + j) * WIDTH) * load(values, j * WIDTH)
        store(result, k * WIDTH, total)


@compiled()
def _tridiagonal_times(diagonal, beside, size, values, result):
    for k in range(size):
        total = load(diagonal, k * WIDTH) * load(values, k * WIDTH)
        if k > 0:
            total = total + load(beside, (k - 1) * WIDTH) * load(values, (k - 1) * WIDTH)
        if k + 1 < size:
            total = total + load(beside, k * WIDTH) * load(values, (k + 1) * WIDTH)
        store(result, k * WIDTH, total)


@compiled()
def _copy(values, result):
    for k in range(values.size):
        result[k] = values[k]


@compiled(nogil=True)
def batches(anomalies, rows, variables, indptr, index, weight, start, end, rule, groups, increment, freedom):
    """Write the change of the variables of places, up to `WIDTH` numbers of which are in a group, others -1."""
    shifts, factors, nodes, classes = rule
    members, columns = anomalies.shape[0], rows.shape[1]
    displaces = columns > 2 * members
    departures = columns - 2 * members if displaces else columns - members
    root_members = math.sqrt(members - 1)
    shift, factor = np.empty(shifts.shape[1] * WIDTH), np.empty(shifts.shape[1] * WIDTH)
    taken, moved, near = np.empty(WIDTH), np.empty(members), np.zeros(members * WIDTH)
    for i in range(groups.shape[0]):
        group = groups[i]
        fewest, most, terms = indptr[group[0] + 1] - indptr[group[0]], 0, 0
        for lane in range(WIDTH):
            own, kind = 0, 0
            if group[lane] >= 0:
                most = max(most, indptr[group[lane] + 1] - indptr[group[lane]])
                kind = classes[group[lane]]
                own = nodes[kind]
                terms = max(terms, own)
            for k in range(shifts.shape[1]):
                shift[k * WIDTH + lane] = shifts[kind, k] if k < own else 1.0
                factor[k * WIDTH + lane] = factors[kind, k] if k < own else 0.0
        local = np.empty(most * members * WIDTH)
        in_members = fewest >= members
        size = members if in_members else most
        matrix = np.empty(size * size * WIDTH)
        diagonal, beside, scale = np.empty(size * WIDTH), np.empty(size * WIDTH), np.empty(size * WIDTH)
        work, product, values = np.empty(size * WIDTH), np.empty(size * WIDTH), np.empty(size * WIDTH)
        pull, memory = np.empty(size * WIDTH), np.empty(size * WIDTH)
        pulled, remembered = np.empty(most * WIDTH), np.empty(most * WIDTH)
        form(
            rows, members, indptr, index, weight, group, most, size,
            local, matrix, diagonal, beside, scale, work, product,
        )  # fmt: skip
        store(taken, 0, trace_of_freedom(diagonal, beside, size, work))
        for n in range(variables.shape[1]):
            active = False
            for lane in range(WIDTH):
                place = group[lane]
                if place >= 0 and (n == 0 or variables[place, n] != variables[place, 0]):
                    active = True
                    for j in range(members):
                        near[j * WIDTH + lane] = anomalies[j, variables[place, n]]
            if not active:
                break
            if in_members:
                _copy(near, values)
            else:
                _times(local, size, members, near, values)
            _turn(matrix, size, scale, values)
            _functions(diagonal, beside, size, shift, factor, terms, start, end, values, work, product, pull, memory)
            _turn_back(matrix, size, scale, pull)
            if in_members and not displaces:
                _tridiagonal_times(diagonal, beside, size, memory, values)
                _copy(values, memory)
            _turn_back(matrix, size, scale, memory)
            if in_members:
                _times(local, most, members, pull, pulled)
                if displaces:
                    _times(local, most, members, memory, remembered)
            else:
                _copy(pull, pulled)
                _copy(memory, remembered)
            for lane in range(WIDTH):
                place = group[lane]
                if place < 0 or (n > 0 and variables[place, n] == variables[place, 0]):
                    continue
                shared = 0.0
                for j in range(members):
                    moved[j] = root_members * memory[j * WIDTH + lane] if in_members and not displaces else 0.0
                for k in range(indptr[place + 1] - indptr[place]):
                    row, taper = index[indptr[place] + k], math.sqrt(weight[indptr[place] + k])
                    push = taper * pulled[k * WIDTH + lane]
                    if departures == 1:
                        shared += push * rows[row, members]
                    else:
                        for j in range(members):
                            moved[j] += push * rows[row, members + j]
                    if displaces or not in_members:
                        push = taper * remembered[k * WIDTH + lane]
                        if not displaces:
                            push *= root_members
                        first = members + departures if displaces else 0
                        for j in range(members):
                            moved[j] += push * rows[row, first + j]
                for j in range(members):
                    increment[j, variables[place, n]] = moved[j] + shared
                freedom[variables[place, n]] = taken[lane]


@compiled()
def _functions(diagonal, beside, size, shift, factor, terms, start, end, values, work, product, pull, memory):
    """Write phi(T) and psi(T) of the values, which are overwritten."""
    for k in range(size * WIDTH):
        memory[k] = 0.0
    for k in range(terms):
        _solve(diagonal, beside, size, load(shift, k * WIDTH), load(factor, k * WIDTH), values, work, product, memory)
    for k in range(size * WIDTH):
        values[k] = (end - start) * values[k] + start * memory[k]
        pull[k] = -start * memory[k]
    _solve(diagonal, beside, size, lanes(1.0), lanes(1.0), values, work, product, pull)
