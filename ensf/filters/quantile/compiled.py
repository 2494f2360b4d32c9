"""The loops of the serial quantile filter, compiled: imported where they are called, for Numba takes its time.

A row holds the members of one scalar. Observation k stands for a direction u_k, the departures of its members at its
turn over their norm, and a change c_k of every member over that norm. It takes every row to

    x_j + rho_k (x . u_k) c_kj,            rho_k taper.

The rows of the observations go this way one after another (`arrive`); at its turn a row is moved along its quantiles
(`cells`, `cut`, `conserve`), which makes its direction and change (`conclude`). The entries of the state go the same
way afterwards (`regress`), all in double precision and each by itself.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from ensf.arrays.kernels import compiled
from ensf.filters.quantile.marginals import TAIL

__all__ = ["PASSES", "begin", "cut", "end", "gaussian_loop", "regress"]

REACH = 6.0  # widths by which a kernel reaches out
FLAT, IMPOSSIBLE = 1e-4, 80.0  # rise of log l in a cell taken for none; fall from its maximum taken for zero
BEND, NEGLIGIBLE = (
    0.01,
    30.0,
)  # departure of log l from linear that cuts a cell; fall below which a cell does not matter
PIECES, PASSES = 4, 24  # of a cell that is cut; how often
ROUNDING = 1e-15  # spread over size of members that agree


# --- regression ------------------------------------------------------------------------------------------


@compiled(nogil=True)
def _carry(row, stop, index, weight, directions, changes):
    """Take a row through the observations `index` below `stop`, in their order."""
    members = row.size
    for n in range(index.size):
        k = index[n]
        if k >= stop:
            break
        first, along0, along1, along2, along3 = row[0], 0.0, 0.0, 0.0, 0.0
        j = 0
        while j + 4 <= members:
            along0 += (row[j] - first) * directions[k, j]
            along1 += (row[j + 1] - first) * directions[k, j + 1]
            along2 += (row[j + 2] - first) * directions[k, j + 2]
            along3 += (row[j + 3] - first) * directions[k, j + 3]
            j += 4
        while j < members:
            along0 += (row[j] - first) * directions[k, j]
            j += 1
        factor = weight[n] * ((along0 + along1) + (along2 + along3))
        for j in range(members):
            row[j] += factor * changes[k, j]


@compiled(nogil=True)
def _regress_entry(slot, anomalies, directions, changes, taken, variables, indptr, index, weight, increments, freedom):
    width = variables.shape[1]
    place, column = slot // width, slot % width
    entry = variables[place, column]
    if column > 0 and entry == variables[place, 0]:
        return
    near = slice(indptr[place], indptr[place + 1])
    row = np.empty(anomalies.shape[0])
    for j in range(row.size):
        row[j] = anomalies[j, entry]
    _carry(row, directions.shape[0], index[near], weight[near], directions, changes)
    for j in range(row.size):
        increments[j, entry] = row[j] - anomalies[j, entry]
    total = 0.0
    for n in range(indptr[place], indptr[place + 1]):
        total += weight[n] * taken[index[n]]
    freedom[entry] = total


@compiled(nogil=True)
def _regress(*arguments):
    for slot in range(arguments[4].size):
        _regress_entry(slot, *arguments)


@compiled(parallel=True)
def _regress_in_parallel(
    anomalies, directions, changes, taken, variables, indptr, index, weight, increments, freedom
):  # fmt: skip
    for slot in numba.prange(variables.size):
        _regress_entry(
            slot, anomalies, directions, changes, taken, variables, indptr, index, weight, increments, freedom
        )


def regress(anomalies, directions, changes, taken, patches, in_parallel, increments, freedom):
    """Write the changes of all entries, and the degrees of freedom taken at each.

    `directions` and `changes` are (observation, member), `anomalies` and `increments` (member, entry).
    """
    loop = _regress_in_parallel if in_parallel else _regress
    near = patches.variables, patches.indptr, patches.index, patches.weight
    loop(anomalies, directions, changes, taken, *near, increments, freedom)


# --- observations, one after another ---------------------------------------------------------------------


@compiled()
def gaussian_loop(
    rows, value, error, table, scores, ordered, place, indptr, index, weight, directions, changes, taken
):  # fmt: skip
    """All observations, where errors are Gaussian and nothing is between eta and y."""
    for k in range(value.size):
        values = arrive(rows, k, scores, ordered, place, indptr, index, weight, directions, changes)
        if table.bandwidth == 1.0:
            moved = _kalman(values, value[k], error[k])
        else:
            nodes, mass = cells(values, table)
            logs = _gaussian(value[k], error[k], nodes)
            for _ in range(PASSES):
                finer, mass = cut(nodes, mass, logs)
                if finer.size == nodes.size:
                    break
                nodes = finer
                logs = _gaussian(value[k], error[k], nodes)
            moved = conserve(values, nodes, mass, logs)
        conclude(rows, k, values, moved, scores, ordered, directions, changes, taken)


@compiled()
def _gaussian(value, error, nodes):
    white = (value - nodes) / error
    return -0.5 * white * white


@compiled()
def _kalman(values, value, error):
    """Quantiles of N(m, s^2) kept in closed form: the ensemble adjustment Kalman filter (Anderson 2001)."""
    mean, variance = np.mean(values), _spread(values) ** 2
    total = variance + error * error
    return mean + variance / total * (value - mean) + error / math.sqrt(total) * (values - mean)


@compiled()
def arrive(rows, k, scores, ordered, place, indptr, index, weight, directions, changes):
    """Members of what observation k sees at its turn, after those before it."""
    near = slice(indptr[place[k]], indptr[place[k] + 1])
    _carry(rows[k], k, index[near], weight[near], directions, changes)
    return np.interp(rows[k], scores, ordered[k]) if ordered.size > 0 else rows[k].copy()


@compiled()
def begin(rows, k, table, scores, ordered, place, indptr, index, weight, directions, changes):
    """Members of what observation k sees at its turn, nodes and mass of their marginal."""
    values = arrive(rows, k, scores, ordered, place, indptr, index, weight, directions, changes)
    nodes, mass = cells(values, table)
    return values, nodes, mass


@compiled()
def end(rows, k, values, nodes, mass, logs, scores, ordered, directions, changes, taken):
    """Direction and change of observation k, whose log likelihood at the nodes is known."""
    moved = conserve(values, nodes, mass, logs)
    conclude(rows, k, values, moved, scores, ordered, directions, changes, taken)


@compiled()
def conclude(rows, k, values, moved, scores, ordered, directions, changes, taken):
    """Direction and change of observation k, and the part of the variance that it took."""
    row, change = rows[k], moved - values
    before, after = _spread(values), _spread(moved)
    if ordered.size > 0:
        change = np.interp(moved, ordered[k], scores) - np.interp(values, ordered[k], scores)
    departures = row - np.mean(row)
    norm = math.sqrt(np.sum(departures * departures))
    if before > ROUNDING * np.abs(values).max() and norm > 0:
        directions[k], changes[k] = departures / norm, change / norm
        taken[k] = max(0.0, 1 - (after / before) ** 2)
    else:
        directions[k], changes[k], taken[k] = 0.0, 0.0, 0.0


# --- one marginal ----------------------------------------------------------------------------------------


@compiled()
def cells(values, table):
    """Nodes and mass for the table of a marginal."""
    return _kernel_cells(values, table) if table.bandwidth > 0 else _histogram_cells(values, table)


@compiled()
def _spread(values):
    return math.sqrt(np.sum((values - np.mean(values)) ** 2) / (values.size - 1))


@compiled()
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


@compiled()
def _cut_tail(nodes, bounded, mass, first):
    tail = mass[first : first + TAIL]
    kept = np.empty(TAIL)
    for i in range(TAIL):
        width = nodes[first + i + 1] - nodes[first + i]
        kept[i] = tail[i] * ((bounded[first + i + 1] - bounded[first + i]) / width if width > 0 else 1.0)
    total = kept.sum()
    if total > 0:
        tail[:] = kept * (tail.sum() / total)


@compiled()
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


@compiled()
def cut(nodes, mass, logs):
    """Nodes and mass with those cells cut in which log l bends, of cells that may matter; as they are if there is none.

    What a cell may hide is bounded by the chords of its neighbours, as if log l were concave, so that a narrow peak
    between two nodes is not missed. Cells without width have no chord.
    """
    logs = np.maximum(logs, logs.max() - 1e100)
    wide = np.flatnonzero(nodes[1:] - nodes[:-1] > 4e-16 * np.maximum(np.abs(nodes[1:]), np.abs(nodes[:-1])))
    slope, weight = np.empty(wide.size), np.empty(wide.size)
    reference = -np.inf
    for n, i in enumerate(wide):
        slope[n] = (logs[i + 1] - logs[i]) / (nodes[i + 1] - nodes[i])
        weight[n] = math.log(mass[i]) if mass[i] > 0 else -np.inf
        reference = max(reference, max(logs[i], logs[i + 1]) + weight[n])
    pieces = np.ones(mass.size, dtype=np.int64)
    for n, i in enumerate(wide):
        width = nodes[i + 1] - nodes[i]
        left = slope[n - 1] if n > 0 else slope[n]
        right = slope[n + 1] if n + 1 < wide.size else slope[n]
        bend = max(abs(left - slope[n]), abs(right - slope[n])) * width / 8
        if bend > BEND and _bound(logs[i], logs[i + 1], left, right, width) + weight[n] > reference - NEGLIGIBLE:
            pieces[i] = PIECES
    if pieces.sum() == mass.size:
        return nodes, mass
    finer, parts = np.empty(pieces.sum() + 1), np.empty(pieces.sum())
    m = 0
    for i in range(mass.size):
        for part in range(pieces[i]):
            finer[m] = nodes[i] + part * ((nodes[i + 1] - nodes[i]) / pieces[i])
            parts[m] = mass[i] / pieces[i]
            m += 1
    finer[m] = nodes[-1]
    return finer, parts


@compiled()
def _bound(low, high, left, right, width):
    """Largest value in a cell of a concave function with these values at its ends and these chords beside it."""
    if not left > 0 > right:
        return max(low, high)
    meet = min(max((high - low - right * width) / (left - right), 0.0), width)
    return max(low, high, low + left * meet)


@compiled()
def conserve(values, nodes, mass, log_likelihood):
    """Members with their quantiles kept, from the prior cells to the posterior."""
    before, after = np.zeros(nodes.size), np.zeros(nodes.size)
    logs = np.maximum(log_likelihood - log_likelihood.max(), -IMPOSSIBLE)
    for i in range(mass.size):
        before[i + 1] = before[i] + mass[i]
        after[i + 1] = after[i] + mass[i] * math.exp(logs[i]) * _mean_exponential(logs[i + 1] - logs[i])
    quantiles = np.interp(values, nodes, before * (after[-1] / before[-1]))
    moved = np.empty(values.size)
    for j in range(values.size):
        i = min(max(np.searchsorted(after, quantiles[j], side="right") - 1, 0), mass.size - 1)
        part = (quantiles[j] - after[i]) / (after[i + 1] - after[i]) if after[i + 1] > after[i] else 1.0
        moved[j] = nodes[i] + _bent(min(part, 1.0), logs[i + 1] - logs[i]) * (nodes[i + 1] - nodes[i])
    return moved


@compiled()
def _mean_exponential(rise):
    """Mean of e^(rise t) over t in (0, 1)."""
    return math.expm1(rise) / rise if abs(rise) > FLAT else 1 + 0.5 * rise


@compiled()
def _bent(part, rise):
    """Where in (0, 1) this part of the integral of e^(rise t) lies to the left."""
    return min(math.log1p(part * math.expm1(rise)) / rise, 1.0) if abs(rise) > FLAT else part
