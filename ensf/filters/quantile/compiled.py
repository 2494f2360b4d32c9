"""The serial quantile filter on NumPy arrays, compiled: all compiled functions that call each other are in this file.

The rows are state variables, then what the observations see, each ``(member,)``. Observation k moves the members of
its row along their quantiles (`ensf.filters.quantile.marginals`) and regresses the change on all rows near it.
Marginals are computed in double precision, the regression in the precision of the rows.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numba
import numpy as np

__all__ = ["FLAT", "IMPOSSIBLE", "REACH", "TAIL", "Table", "assimilate", "gaussian_loop", "look"]

TAIL = 24  # cells in a tail
REACH = 6.0  # widths by which a kernel reaches out
FLAT, IMPOSSIBLE = 1e-4, 80.0  # rise of log l in a cell taken for none; fall from its maximum taken for zero


class Table(NamedTuple):
    """Constants of a marginal; a bandwidth of 0 means a rank histogram.

    A node is at ``low + fraction (high - low) + offset * spread``: low and high are the sorted members `left` and
    `right`, or the ends of the grid of a kernel density. `mass` is between nodes.
    """

    left: np.ndarray
    right: np.ndarray
    fraction: np.ndarray
    offset: np.ndarray
    mass: np.ndarray
    lower: float
    upper: float
    bandwidth: float


@numba.njit(cache=True)
def gaussian_loop(rows, value, error, table, scores, ordered, start, stop, index, taper):
    for k in range(value.size):
        values, nodes, mass = look(rows, k, value.size, table, scores, ordered)
        white = (value[k] - nodes) / error[k]
        assimilate(rows, k, values, nodes, mass, -0.5 * white * white, scores, ordered, start, stop, index, taper)


@numba.njit(cache=True)
def look(rows, k, count, table, scores, ordered):
    """Members of what observation k sees, and the cells of their marginal."""
    row = rows.shape[0] - count + k
    values = rows[row].astype(np.float64)
    if ordered.size > 0:
        values = np.interp(values, scores, ordered[row])
    nodes, mass = _cells(values, table)
    return values, nodes, mass


@numba.njit(cache=True)
def assimilate(rows, k, values, nodes, mass, logs, scores, ordered, start, stop, index, taper):
    """Conserve quantiles under observation k and regress the change on all rows near it."""
    row = rows.shape[0] - start.size + k
    moved = _conserve(values, nodes, mass, logs)
    if ordered.size > 0:
        moved, values = np.interp(moved, ordered[row], scores), np.interp(values, ordered[row], scores)
    change = (moved - values).astype(rows.dtype)
    departures = rows[row] - np.mean(rows[row])
    variance = np.dot(departures, departures)
    if variance > 0:
        for i in range(start[k], stop[k]):
            _regress(rows[index[i]], departures, change, taper[i] / variance)


@numba.njit(cache=True, fastmath={"reassoc", "contract"})
def _regress(values, departures, change, factor):
    product, first = 0.0, values[0]
    for j in range(values.size):
        product += (values[j] - first) * departures[j]
    for j in range(values.size):
        values[j] += factor * product * change[j]


# --- marginals -------------------------------------------------------------------------------------------


@numba.njit(cache=True)
def _cells(values, table):
    """Nodes and mass for the table of a marginal."""
    return _kernel_cells(values, table) if table.bandwidth > 0 else _histogram_cells(values, table)


@numba.njit(cache=True)
def _spread(values):
    return math.sqrt(np.sum((values - np.mean(values)) ** 2) / (values.size - 1))


@numba.njit(cache=True)
def _histogram_cells(values, table):
    ordered, spread = np.sort(values), _spread(values)
    nodes = np.empty(table.left.size)
    for i in range(nodes.size):
        low, high = ordered[table.left[i]], ordered[table.right[i]]
        nodes[i] = low + table.fraction[i] * (high - low) + table.offset[i] * spread
    if table.lower == -math.inf and table.upper == math.inf:
        return nodes, table.mass
    bounded, kept = np.minimum(np.maximum(nodes, table.lower), table.upper), table.mass.copy()
    for first in (0, kept.size - TAIL):
        _cut_tail(nodes, bounded, kept, first)
    return bounded, kept


@numba.njit(cache=True)
def _cut_tail(nodes, bounded, mass, first):
    tail = mass[first : first + TAIL]
    kept = np.empty(TAIL)
    for i in range(TAIL):
        width = nodes[first + i + 1] - nodes[first + i]
        kept[i] = tail[i] * ((bounded[first + i + 1] - bounded[first + i]) / width if width > 0 else 1.0)
    total = kept.sum()
    if total > 0:
        tail[:] = kept * (tail.sum() / total)


@numba.njit(cache=True)
def _kernel_cells(values, table):
    mean, width = np.mean(values), table.bandwidth * _spread(values)
    centres = mean + math.sqrt(1 - table.bandwidth**2) * (values - mean)
    low = min(centres.min() - REACH * width, values.min())
    high = max(centres.max() + REACH * width, values.max())
    nodes = low + (high - low) * table.fraction
    scale = 1 / width if width > 0 else 0.0
    density = np.empty(nodes.size)
    for i in range(nodes.size):
        total = 0.0
        for centre in centres:
            departure = (nodes[i] - centre) * scale
            if abs(departure) < REACH:
                total += math.exp(-0.5 * departure * departure)
        density[i] = total
    return nodes, density[1:] + density[:-1] + 1e-300


@numba.njit(cache=True)
def _conserve(values, nodes, mass, log_likelihood):
    before, after = np.zeros(nodes.size), np.zeros(nodes.size)
    logs = np.maximum(log_likelihood - log_likelihood.max(), -IMPOSSIBLE)
    for i in range(mass.size):
        before[i + 1] = before[i] + mass[i]
        after[i + 1] = after[i] + mass[i] * math.exp(logs[i]) * _mean_exponential(logs[i + 1] - logs[i])
    quantiles = np.interp(values, nodes, before * (after[-1] / before[-1]))
    moved = np.empty(values.size)
    for j in range(values.size):
        i = min(max(np.searchsorted(after, quantiles[j], side="right") - 1, 0), mass.size - 1)
        share = (quantiles[j] - after[i]) / (after[i + 1] - after[i]) if after[i + 1] > after[i] else 1.0
        moved[j] = nodes[i] + _bent(min(share, 1.0), logs[i + 1] - logs[i]) * (nodes[i + 1] - nodes[i])
    return moved


@numba.njit(cache=True)
def _mean_exponential(rise):
    """Mean of e^(rise t) over t in (0, 1)."""
    return math.expm1(rise) / rise if abs(rise) > FLAT else 1 + 0.5 * rise


@numba.njit(cache=True)
def _bent(share, rise):
    """Where in (0, 1) this share of the integral of e^(rise t) lies to the left."""
    return min(math.log1p(share * math.expm1(rise)) / rise, 1.0) if abs(rise) > FLAT else share
