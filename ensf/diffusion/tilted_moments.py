"""Tilted moments: mean and variance of N(m, s^2) p(y | h(x)) for one scalar x, by adaptive quadrature.

The exact score of a scalar likelihood under a Gaussian is (tilted mean - m) / s^2, for |x|, x^2, saturating and
threshold observations alike. The nodes start wide (+-8 s, or +-100 s if need be) and close in on the mass: where
neighbouring chords of the log density meet bounds what a cell may hide, so a narrow peak between two nodes is not
missed. Two windows are kept where the density has two modes, two nested ones where a narrow peak stands on a wide base.
What is then still uneven from node to node, as at the cusp of a Laplace density or in the long flanks of Student's t,
has cells divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ensf.arrays import Array, is_host, like, namespace

__all__ = ["tilted_moments"]

NODES = 32
PASSES = 8
NEGLIGIBLE, SUMMIT = 23.0, 4.0  # fall of the log density outside of a window, and of the inner one of two nested
ROUGH = 0.3  # what a cell on the summit may hide when nodes are fine enough
SAME = 0.7  # part of the old window that a new one must have to be the same
APART = 0.2  # gap between two modes with windows of their own, over the whole
GAP = 4.0  # width of the cell between two windows, over that of its neighbours, from which it counts for nothing
NARROW = 0.15  # summit with a window of its own, over the whole
UNEVEN, UNEVEN_BELOW = 0.25, 2.5  # change of curvature per node that divides cells, on the summit and below
DIVIDED, REFINEMENTS = 12, 6  # cells divided in four at once, and how often
STEEP = 3.0  # change of the log density over the difference of two cells, beyond which no slope is taken between them
JUMP = 0.5  # rise of the log density between two points that are all but one
REACH = 100.0
SMALL = 20_000  # densities below which one thread is used
BLOCK = 2**17  # nodes worked on at once by a thread
IMPOSSIBLE = -1e30  # log density where the operator or the law has no value, as log x for x < 0
_NEAR = np.linspace(-8.0, 8.0, NODES)
_FAR = np.sinh(np.linspace(-math.asinh(REACH), math.asinh(REACH), NODES))


def tilted_moments(
    log_likelihood: Callable[[slice], Callable[[Array], Array]], mean: Array, deviation: Array, finer: bool = False
) -> tuple[Array, Array]:
    """Mean and variance of N(mean, deviation^2) times a likelihood, for every entry.

    Many entries are worked off in blocks of the last axis that fit the processor's cache, several at once.

    Parameters
    ----------
    log_likelihood : callable
        ``part -> ((..., part, node) -> (..., part, node))``: log p(y | h(x)) as a function of x, for the entries `part`
        of the last axis of `mean`.
    mean, deviation : (..., entry) array
        Of the Gaussian.
    finer : bool
        Whether cells are divided where the likelihood has cusps or long flanks: for errors that are not Gaussian.

    Returns
    -------
    mean, variance : (..., entry) arrays

    Notes
    -----
    Where the likelihood is NaN or minus infinity, as that of log x below zero, its density is 0.
    """
    entries = mean.shape[-1]
    step = max(1, BLOCK * entries // max(1, math.prod(mean.shape) * NODES)) if is_host(mean) else entries
    parts = [slice(first, min(first + step, entries)) for first in range(0, max(1, entries), max(1, step))]
    if len(parts) == 1:
        return _block(log_likelihood, mean, deviation, parts[0], finer)
    from concurrent.futures import ThreadPoolExecutor

    import numba

    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        moments = threads.map(lambda part: _block(log_likelihood, mean, deviation, part, finer), parts)
        centre, variance = zip(*moments, strict=True)
    return np.concatenate(centre, axis=-1), np.concatenate(variance, axis=-1)


def _block(log_likelihood: Callable, mean: Array, deviation: Array, part: slice, finer: bool) -> tuple[Array, Array]:
    """Moments of some entries."""
    mean, deviation = mean[..., part, None], deviation[..., part, None]
    scale = math.sqrt(0.5) / deviation
    of_part = log_likelihood(part)

    def log_density(nodes: Array) -> Array:
        departure, xp = (nodes - mean) * scale, namespace(nodes)
        logs = of_part(nodes) - departure * departure
        return xp.where(xp.isfinite(logs), logs, like(np.asarray(IMPOSSIBLE, dtype=np.float64), logs))

    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _adaptive(log_density, lambda unit: mean + deviation * like(unit, mean), finer)


def _adaptive(log_density: Callable, place: Callable[[np.ndarray], Array], finer: bool) -> tuple[Array, Array]:
    """Moments of a density, from the near starting nodes if they hold the mass, else from the far ones."""
    nodes = place(_NEAR)
    xp, logs = namespace(nodes), log_density(nodes)
    edge = xp.maximum(logs[..., 0], logs[..., -1]) - xp.max(logs, axis=-1)
    if not bool(xp.all(edge < -NEGLIGIBLE)):
        nodes = place(_FAR)
        logs = log_density(nodes)
    for _ in range(PASSES):
        closer, settled = _closer(nodes, logs)
        if settled:
            break
        nodes, logs = closer, log_density(closer)
    jump, jumps = _find_jump(nodes, logs, log_density)
    panels = _two_panels(nodes[..., :1], jump, nodes[..., -1:]) if jump is not None else None
    mean, variance = _moments(nodes, logs, _trapezoid(nodes))
    uneven = xp.any(_is_uneven(nodes, logs), axis=-1) if finer else None
    if uneven is not None and bool(xp.any(uneven)):
        nodes, logs = _finer(nodes, logs, log_density)
        finer_mean, finer_variance = _moments_of_uneven_nodes(nodes, logs)
        mean, variance = xp.where(uneven, finer_mean, mean), xp.where(uneven, finer_variance, variance)
    if panels is None:
        return mean, variance
    nodes, weights = panels
    panel_mean, panel_variance = _moments(nodes, log_density(nodes), weights)
    return xp.where(jumps, panel_mean, mean), xp.where(jumps, panel_variance, variance)


def _moments(nodes: Array, logs: Array, weights: Array) -> tuple[Array, Array]:
    xp = namespace(nodes)
    mass = weights * xp.exp(logs - xp.max(logs, axis=-1, keepdims=True))
    total = xp.sum(mass, axis=-1)
    mean = xp.sum(mass * nodes, axis=-1) / total
    departure = nodes - mean[..., None]
    return mean, xp.sum(mass * departure * departure, axis=-1) / total


def _moments_of_uneven_nodes(nodes: Array, logs: Array) -> tuple[Array, Array]:
    """By the trapezoidal rule with the Euler-Maclaurin term h^2 (f' - f') / 12 of every cell, f' = f l'.

    Where all cells are as wide the terms add up to nothing. The slope l' of the log density is that of a parabola
    through three nodes; where it is too steep for the cells, as beside a jump, the term is left out.
    """
    xp = namespace(nodes)
    width = nodes[..., 1:] - nodes[..., :-1]
    slope = xp.where(width > 0, logs[..., 1:] - logs[..., :-1], xp.zeros_like(width)) / xp.where(width > 0, width, 1.0)
    edge = xp.zeros_like(nodes[..., :1])
    left, right = xp.concat([edge, width], axis=-1), xp.concat([width, edge], axis=-1)
    before, after = xp.concat([slope[..., :1], slope], axis=-1), xp.concat([slope, slope[..., -1:]], axis=-1)
    both = left + right
    at_node = (before * right + after * left) / xp.where(both > 0, both, 1.0)
    term = xp.where(xp.abs((right - left) * at_node) < STEEP, (right - left) * both / 6, xp.zeros_like(both))
    density = xp.exp(logs - xp.max(logs, axis=-1, keepdims=True))
    mass, term = density * (both + term * at_node), density * term
    total = xp.sum(mass, axis=-1)
    centre = (xp.sum(mass * nodes, axis=-1) + xp.sum(term, axis=-1)) / total
    departure = nodes - centre[..., None]
    return centre, xp.sum(mass * departure * departure + 2 * term * departure, axis=-1) / total


def _trapezoid(nodes: Array) -> Array:
    """Weights of the trapezoidal rule, times two; spectrally accurate where a density fades at both ends.

    The gap between two windows counts for nothing, for it may be so wide that what is negligible at its ends is not.
    """
    xp, half = namespace(nodes), NODES // 2
    width = nodes[..., 1:] - nodes[..., :-1]
    gap = width[..., half - 1 : half]
    gap = xp.where(gap > GAP * xp.maximum(width[..., half - 2 : half - 1], width[..., half : half + 1]), 0.0 * gap, gap)
    width = xp.concat([width[..., : half - 1], gap, width[..., half:]], axis=-1)
    edge = xp.zeros_like(nodes[..., :1])
    return xp.concat([width, edge], axis=-1) + xp.concat([edge, width], axis=-1)


def _unevenness(nodes: Array, logs: Array) -> Array:
    """Change of the curvature of the log density ``(..., cell)`` in and about every cell; 0 of a Gaussian."""
    xp = namespace(nodes)
    width = nodes[..., 1:] - nodes[..., :-1]
    slope = (logs[..., 1:] - logs[..., :-1]) / width
    curvature = 2 * (slope[..., 1:] - slope[..., :-1]) / (width[..., 1:] + width[..., :-1])
    change = xp.abs(curvature[..., 1:] - curvature[..., :-1])
    edge = xp.zeros_like(change[..., :1])
    change = xp.concat([edge, edge, change, edge, edge], axis=-1)
    return xp.maximum(change[..., 1:-1], xp.maximum(change[..., 2:], change[..., :-2])) * width * width


def _fall(logs: Array) -> Array:
    """How far every cell is below the summit of the log density."""
    xp = namespace(logs)
    return xp.max(logs, axis=-1, keepdims=True) - xp.maximum(logs[..., 1:], logs[..., :-1])


def _is_uneven(nodes: Array, logs: Array) -> Array:
    """Whether cells are too wide for the trapezoidal rule ``(..., cell)``."""
    uneven, fall = _unevenness(nodes, logs), _fall(logs)
    return ((fall < SUMMIT) & (uneven > UNEVEN)) | ((fall < NEGLIGIBLE) & (uneven > UNEVEN_BELOW))


def _finer(nodes: Array, logs: Array, log_density: Callable) -> tuple[Array, Array]:
    """More nodes, within the cells that are wide, probable and uneven."""
    xp = namespace(nodes)
    for _ in range(REFINEMENTS):
        if not bool(xp.any(_is_uneven(nodes, logs))):
            break
        need = (nodes[..., 1:] - nodes[..., :-1]) * xp.exp(-0.5 * _fall(logs)) * _unevenness(nodes, logs)
        cells = xp.argsort(need, axis=-1)[..., -DIVIDED:]
        left, right = (xp.take_along_axis(nodes, ends, axis=-1) for ends in (cells, cells + 1))
        new = xp.concat([left + part * (right - left) for part in (0.25, 0.5, 0.75)], axis=-1)
        nodes, logs = xp.concat([nodes, new], axis=-1), xp.concat([logs, log_density(new)], axis=-1)
        order = xp.argsort(nodes, axis=-1)
        nodes, logs = (xp.take_along_axis(array, order, axis=-1) for array in (nodes, logs))
    return nodes, logs


def _two_panels(low: Array, middle: Array, high: Array) -> tuple[Array, Array]:
    """Gauss-Legendre nodes and weights on either side of a jump."""
    xp = namespace(low)
    unit, weights = (like(part, low) for part in np.polynomial.legendre.leggauss(NODES))
    left, right = 0.5 * (middle - low), 0.5 * (high - middle)
    nodes = xp.concat([low + left * (1 + unit), middle + right * (1 + unit)], axis=-1)
    return nodes, xp.concat([left * weights, right * weights], axis=-1)


def _find_jump(nodes: Array, logs: Array, log_density: Callable) -> tuple[Array | None, Array | None]:
    """Place ``(..., 1)`` of the steepest rise of each log density, by bisection, and whether it is a jump ``(...)``.

    None if none has a jump.
    """
    xp, take = namespace(nodes), namespace(nodes).take_along_axis
    rise = xp.abs(logs[..., 1:] - logs[..., :-1])
    excess = rise[..., 1:-1] - xp.maximum(rise[..., :-2], rise[..., 2:])
    if not bool(xp.any(excess > 1.0)):
        return None, None
    visible = xp.maximum(logs[..., 1:-2], logs[..., 2:-1]) > xp.max(logs, axis=-1, keepdims=True) - 0.5 * NEGLIGIBLE
    excess = xp.where(visible, excess, xp.zeros_like(excess))
    steep = xp.any(excess > 1.0, axis=-1)
    if not bool(xp.any(steep)):
        return None, None
    cell = xp.argmax(excess, axis=-1, keepdims=True) + 1
    low, high = take(nodes, cell, axis=-1), take(nodes, cell + 1, axis=-1)
    f_low, f_high = take(logs, cell, axis=-1), take(logs, cell + 1, axis=-1)
    for _ in range(20):
        middle = 0.5 * (low + high)
        f = log_density(middle)
        left = xp.abs(f - f_low) < xp.abs(f - f_high)
        low, f_low = xp.where(left, middle, low), xp.where(left, f, f_low)
        high, f_high = xp.where(left, high, middle), xp.where(left, f_high, f)
    jumps = steep & (xp.abs(f_high - f_low)[..., 0] > JUMP)
    return (0.5 * (low + high), jumps) if bool(xp.any(jumps)) else (None, None)


def _closer(nodes: Array, logs: Array) -> tuple[Array, bool]:
    """New nodes, in the one, two or two nested windows that hold the mass; and whether the old ones were as good."""
    if not is_host(nodes):
        return _closer_batched(nodes, logs)
    from ensf.diffusion import window_loops

    closer = np.empty(nodes.shape, dtype=nodes.dtype)
    settled = np.empty(nodes.size // NODES, dtype=np.bool_)
    rules = (NEGLIGIBLE, SUMMIT, ROUGH, SAME, APART, NARROW)
    loop = window_loops.closer if settled.size < SMALL else window_loops.closer_in_parallel
    loop(nodes.reshape(-1, NODES), logs.reshape(-1, NODES), rules, closer.reshape(-1, NODES), settled)
    return closer, bool(settled.all())


# --- the same as batched array code ----------------------------------------------------------------------


def _closer_batched(nodes: Array, logs: Array) -> tuple[Array, bool]:
    xp, n, half = namespace(nodes), NODES, NODES // 2
    top = xp.max(logs, axis=-1, keepdims=True)
    bound = _bound_batched(nodes, logs)
    kept, summit = bound > top - NEGLIGIBLE, bound > top - SUMMIT
    low, high = _hull(nodes, kept)
    low_top, high_top = _hull(nodes, summit)
    left, right = _widest_gap(nodes, kept, low)
    hidden = bound - xp.maximum(logs[..., :-1], logs[..., 1:])
    rough = xp.max(xp.where(summit, hidden, xp.zeros_like(hidden)), axis=-1, keepdims=True)
    fine = (rough < ROUGH) & (high - low > SAME * (nodes[..., -1:] - nodes[..., :1]))
    two = right - left >= APART * (high - low)
    fine_two = (left - low > SAME * (nodes[..., half - 1 : half] - nodes[..., :1])) & (
        high - right > SAME * (nodes[..., -1:] - nodes[..., half : half + 1])
    )
    double = xp.concat([_between(low, left, half), _between(right, high, half)], axis=-1)
    nested = xp.sort(xp.concat([_between(low, high, half), _between(low_top, high_top, half)], axis=-1), axis=-1)
    single = xp.where(high_top - low_top < NARROW * (high - low), nested, _between(low, high, n))
    return xp.where(two, double, single), bool(xp.all(fine & (fine_two | ~two)))


def _between(low: Array, high: Array, count: int) -> Array:
    return low + (high - low) * like(np.arange(count) / (count - 1), low)


def _hull(nodes: Array, chosen: Array) -> tuple[Array, Array]:
    """Ends ``(..., 1)`` of the interval that holds the chosen cells."""
    xp = namespace(nodes)
    first = xp.argmax(xp.astype(chosen, xp.int8), axis=-1, keepdims=True)
    last = NODES - 2 - xp.argmax(xp.astype(xp.flip(chosen, axis=-1), xp.int8), axis=-1, keepdims=True)
    return xp.take_along_axis(nodes, first, axis=-1), xp.take_along_axis(nodes, last + 1, axis=-1)


def _bound_batched(x: Array, f: Array) -> Array:
    """Largest log density that a piecewise log-concave function may reach in every cell."""
    xp = namespace(x)
    top = xp.maximum(f[..., :-1], f[..., 1:])
    slope = (f[..., 1:] - f[..., :-1]) / (x[..., 1:] - x[..., :-1])
    left, right = slope[..., :-2], slope[..., 2:]
    x0, x1, f0, f1 = x[..., 1:-2], x[..., 2:-1], f[..., 1:-2], f[..., 2:-1]
    peaked = (left > 0) & (right < 0)
    steep = xp.where(peaked, left - right, xp.ones_like(left))
    meet = xp.where(peaked, (f1 - f0 + left * x0 - right * x1) / steep, x0)
    bound = f0 + xp.where(peaked, left, xp.zeros_like(left)) * (xp.minimum(xp.maximum(meet, x0), x1) - x0)
    inner = xp.where(peaked, xp.maximum(top[..., 1:-1], bound), top[..., 1:-1])
    return xp.concat([top[..., :1], inner, top[..., -1:]], axis=-1)


def _widest_gap(x: Array, kept: Array, low: Array) -> tuple[Array, Array]:
    """Ends ``(..., 1)`` of the widest run of cells between two kept ones."""
    xp = namespace(x)
    end, left, right = low, low, low
    for i in range(NODES - 1):
        here, inside = x[..., i : i + 1], kept[..., i : i + 1]
        wider = inside & (here - end > right - left)
        left, right = xp.where(wider, end, left), xp.where(wider, here, right)
        end = xp.where(inside, x[..., i + 1 : i + 2], end)
    return left, right
