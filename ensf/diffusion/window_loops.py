"""The windows of the adaptive quadrature, compiled: imported where they are called, for Numba takes its time."""

from __future__ import annotations

import numba

from ensf.arrays.kernels import compiled

__all__ = ["closer", "closer_in_parallel"]


@compiled(nogil=True, error_model="numpy")
def closer(nodes, logs, rules, new, settled):
    for i in range(nodes.shape[0]):
        settled[i] = _closer_row(nodes[i], logs[i], rules, new[i])


@compiled(parallel=True, error_model="numpy")
def closer_in_parallel(nodes, logs, rules, new, settled):
    for i in numba.prange(nodes.shape[0]):
        settled[i] = _closer_row(nodes[i], logs[i], rules, new[i])


@compiled(error_model="numpy")
def _bound(x, f, i):
    """Largest log density that a piecewise log-concave function may reach between nodes i and i + 1."""
    last = x.size - 1
    top = max(f[i], f[i + 1])
    if i == 0 or i + 1 == last or not (f[i] > f[i - 1] and f[i + 1] > f[i + 2]):
        return top
    left = (f[i] - f[i - 1]) / (x[i] - x[i - 1])
    right = (f[i + 2] - f[i + 1]) / (x[i + 2] - x[i + 1])
    if not (left > 0 > right):
        return top
    meet = (f[i + 1] - f[i] + left * x[i] - right * x[i + 1]) / (left - right)
    return max(top, f[i] + left * (min(max(meet, x[i]), x[i + 1]) - x[i]))


@compiled(error_model="numpy")
def _closer_row(x, f, rules, new):
    """Write the new nodes; true if they hardly differ from the old."""
    negligible, summit, rough_limit, same, apart, narrow = rules
    n, top = x.size, f.max()
    first, last, first_top, last_top, rough = n, -1, n, -1, 0.0
    left, right, gap = 0, 0, 0.0
    for i in range(n - 1):
        bound = _bound(x, f, i)
        if bound > top - negligible:
            if last >= 0 and x[i] - x[last + 1] > gap:
                left, right, gap = last + 1, i, x[i] - x[last + 1]
            first, last = min(first, i), i
        if bound > top - summit:
            first_top, last_top = min(first_top, i), i
            rough = max(rough, bound - max(f[i], f[i + 1]))
    low, high, half = x[first], x[last + 1], n // 2
    fine = rough < rough_limit and high - low > same * (x[n - 1] - x[0])
    if gap >= apart * (high - low):
        _spread_nodes(new[:half], low, x[left])
        _spread_nodes(new[half:], x[right], high)
        return fine and x[left] - low > same * (x[half - 1] - x[0]) and high - x[right] > same * (x[n - 1] - x[half])
    if x[last_top + 1] - x[first_top] < narrow * (high - low):
        _spread_nodes(new[:half], low, high)
        _spread_nodes(new[half:], x[first_top], x[last_top + 1])
        new.sort()
        return fine
    _spread_nodes(new, low, high)
    return fine


@compiled(error_model="numpy")
def _spread_nodes(new, low, high):
    for k in range(new.size):
        new[k] = low + (high - low) * k / (new.size - 1)
