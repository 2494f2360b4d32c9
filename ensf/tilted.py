"""Tilted moments: mean and variance of N(m, s^2) p(y | h(x)) for one scalar x, by adaptive quadrature.

The exact score of a scalar likelihood under a Gaussian is (tilted mean - m) / s^2, for |x|, x^2, saturating and
threshold observations alike. The nodes start wide (+-40 s) and close in on the mass: where neighbouring chords of the
log density meet bounds what a cell may hide, so a narrow peak between two nodes is not missed; two windows are kept
where the density has two modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numpy as np

from ensf.arrays import Array, is_host, like, namespace

__all__ = ["tilted_moments"]

NODES = 32
PASSES = 8
NEGLIGIBLE = 23.0
REACH = 100.0
_START = np.sinh(np.linspace(-math.asinh(REACH), math.asinh(REACH), NODES))


def tilted_moments(log_likelihood: Callable[[Array], Array], mean: Array, deviation: Array) -> tuple[Array, Array]:
    """Mean and variance of N(mean, deviation^2) times a likelihood, for every entry.

    Parameters
    ----------
    log_likelihood : callable
        ``(..., node) -> (..., node)``: log p(y | h(x)) at x, the leading axes as those of `mean`.
    mean, deviation : (...) array
        Of the Gaussian.

    Returns
    -------
    mean, variance : (...) arrays
    """
    def log_density(nodes: Array) -> Array:
        departure = (nodes - mean[..., None]) / deviation[..., None]
        return log_likelihood(nodes) - 0.5 * departure * departure

    nodes = mean[..., None] + deviation[..., None] * like(_START, mean)
    for _ in range(PASSES):
        logs = log_density(nodes)
        nodes, settled = _closer(nodes, logs)
        if settled:
            break
    logs = log_density(nodes)
    jump = _find_jump(nodes, logs, log_density)
    if jump is None:
        return _moments(nodes, logs, _trapezoid(nodes))
    nodes, weights = _two_panels(nodes[..., :1], jump, nodes[..., -1:])
    return _moments(nodes, log_density(nodes), weights)


def _moments(nodes: Array, logs: Array, weights: Array) -> tuple[Array, Array]:
    xp = namespace(nodes)
    mass = weights * xp.exp(logs - xp.max(logs, axis=-1, keepdims=True))
    mass = mass / xp.sum(mass, axis=-1, keepdims=True)
    mean = xp.sum(mass * nodes, axis=-1)
    departure = nodes - mean[..., None]
    return mean, xp.sum(mass * departure * departure, axis=-1)


def _trapezoid(nodes: Array) -> Array:
    """Weights of the trapezoidal rule, times two; spectrally accurate where a density fades at both ends."""
    xp = namespace(nodes)
    width = nodes[..., 1:] - nodes[..., :-1]
    edge = xp.zeros_like(nodes[..., :1])
    return xp.concat([width, edge], axis=-1) + xp.concat([edge, width], axis=-1)


def _two_panels(low: Array, middle: Array, high: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on either side of a jump."""
    xp = namespace(low)
    unit, weights = (like(part, low) for part in np.polynomial.legendre.leggauss(NODES))
    left, right = 0.5 * (middle - low), 0.5 * (high - middle)
    nodes = xp.concat([low + left * (1 + unit), middle + right * (1 + unit)], axis=-1)
    return nodes, xp.concat([left * weights, right * weights], axis=-1)


def _find_jump(nodes: Array, logs: Array, log_density: Callable) -> Array | None:
    """Place ``(..., 1)`` of the largest jump of each log density, by bisection; None if none has a jump."""
    xp, take = namespace(nodes), namespace(nodes).take_along_axis
    rise = xp.abs(logs[..., 1:] - logs[..., :-1])
    excess = rise[..., 1:-1] - xp.maximum(rise[..., :-2], rise[..., 2:])
    visible = xp.maximum(logs[..., 1:-2], logs[..., 2:-1]) > xp.max(logs, axis=-1, keepdims=True) - 0.5 * NEGLIGIBLE
    excess = xp.where(visible, excess, xp.zeros_like(excess))
    if not bool(xp.any(excess > 1.0)):
        return None
    cell = xp.argmax(excess, axis=-1, keepdims=True) + 1
    low, high = take(nodes, cell, axis=-1), take(nodes, cell + 1, axis=-1)
    f_low, f_high = take(logs, cell, axis=-1), take(logs, cell + 1, axis=-1)
    for _ in range(20):
        middle = 0.5 * (low + high)
        f = log_density(middle)
        left = xp.abs(f - f_low) < xp.abs(f - f_high)
        low, high = xp.where(left, middle, low), xp.where(left, high, middle)
    return middle


def _closer(nodes: Array, logs: Array) -> Array:
    """New nodes, uniform in the one or two windows that hold the mass."""
    if is_host(nodes):
        closer = np.empty(nodes.shape, dtype=nodes.dtype)
        settled = np.empty(nodes.size // NODES, dtype=np.bool_)
        _closer_loop(nodes.reshape(-1, NODES), logs.reshape(-1, NODES), closer.reshape(-1, NODES), settled)
        return closer, bool(settled.all())
    raise NotImplementedError


@numba.njit(parallel=True, cache=True)
def _closer_loop(nodes, logs, closer, settled):
    for i in numba.prange(nodes.shape[0]):
        settled[i] = _closer_row(nodes[i], logs[i], closer[i])


@numba.njit(cache=True)
def _bound(x, f, i):
    """Largest log density that a piecewise log-concave function may reach between nodes i and i + 1."""
    last = x.size - 1
    top = max(f[i], f[i + 1])
    if i == 0 or i + 1 == last:
        return top
    left = (f[i] - f[i - 1]) / (x[i] - x[i - 1])
    right = (f[i + 2] - f[i + 1]) / (x[i + 2] - x[i + 1])
    if not (left > 0 > right):
        return top
    meet = (f[i + 1] - f[i] + left * x[i] - right * x[i + 1]) / (left - right)
    return max(top, f[i] + left * (min(max(meet, x[i]), x[i + 1]) - x[i]))


@numba.njit(cache=True)
def _closer_row(x, f, new):
    """Write the new nodes; true if they hardly differ from the old."""
    n = x.size
    level = f.max() - NEGLIGIBLE
    first, last = n, -1
    for i in range(n - 1):
        if _bound(x, f, i) > level:
            first, last = min(first, i), i
    left, right, gap, kept = -1, -1, 0.0, first
    for i in range(first + 1, last + 1):
        if _bound(x, f, i) > level:
            if x[i] - x[kept + 1] > gap:
                left, right, gap = kept + 1, i, x[i] - x[kept + 1]
            kept = i
    low, high = x[first], x[last + 1]
    if gap < 0.2 * (high - low):
        _spread_nodes(new, 0, n, low, high)
        return high - low > 0.7 * (x[n - 1] - x[0]) and x[1] - x[0] < 1.5 * (high - low) / (n - 1)
    half = n // 2
    _spread_nodes(new, 0, half, low, x[left])
    _spread_nodes(new, half, n - half, x[right], high)
    return (x[left] - low) > 0.7 * (x[half - 1] - x[0]) and (high - x[right]) > 0.7 * (x[n - 1] - x[half])


@numba.njit(cache=True)
def _spread_nodes(new, start, count, low, high):
    for k in range(count):
        new[start + k] = low + (high - low) * k / (count - 1)
