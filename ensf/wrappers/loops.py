"""Compiled loops of the copula; imported where they are called, for Numba takes its time."""

from __future__ import annotations

import math

import numba

from ensf.arrays.kernels import compiled


@compiled(error_model="numpy")
def quantiles(centres, width, nodes, tails, iterations, tolerance, found):
    """Write the quantiles of every variable."""
    for k in range(centres.shape[0]):
        _quantile_row(centres[k], width, nodes, tails, iterations, tolerance, found[k])


@compiled(error_model="numpy", parallel=True)
def quantiles_in_parallel(centres, width, nodes, tails, iterations, tolerance, found):
    """The same, variables shared out among threads."""
    for k in numba.prange(centres.shape[0]):
        _quantile_row(centres[k], width, nodes, tails, iterations, tolerance, found[k])


@compiled(error_model="numpy")
def _quantile_row(centres, width, nodes, tails, iterations, tolerance, found):
    """Quantiles of one variable, each started from those before."""
    lowest, highest = centres.min(), centres.max()
    for i in range(nodes.size):
        low, high = lowest + width * nodes[i], highest + width * nodes[i]
        if i > 0:
            low = max(low, found[i - 1])
        guess = 2 * found[i - 1] - found[i - 2] if i > 1 else low
        guess = min(max(guess, low), high)
        found[i] = _quantile(centres, width, nodes[i] > 0, tails[i], low, high, guess, iterations, tolerance)


@compiled(error_model="numpy")
def _quantile(centres, width, upper, tail, low, high, x, iterations, tolerance):
    """x in (low, high) with F(x), or 1 - F(x), equal to `tail`: Newton in its logarithm, halving where that fails."""
    sign = -1.0 if upper else 1.0
    for _ in range(iterations):
        mass, density = 0.0, 0.0
        for c in centres:
            v = (x - c) / width
            mass += 0.5 * math.erfc(-sign * v / math.sqrt(2.0))
            density += math.exp(-0.5 * v * v)
        mass, density = mass / centres.size, density / (centres.size * width * math.sqrt(2 * math.pi))
        excess = sign * math.log(mass / tail) if mass > 0 else -sign * math.inf
        low, high = (low, x) if excess > 0 else (x, high)
        new = x - excess * mass / density
        new = new if low <= new <= high else 0.5 * (low + high)
        if abs(new - x) <= tolerance:
            return new
        x = new
    return x
