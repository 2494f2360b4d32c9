"""Tilted moments: mean and variance of N(m, s^2) p(y | h(x)) for one scalar x, by adaptive quadrature.

The exact score of a scalar likelihood under a Gaussian is (tilted mean - m) / s^2, for |x|, x^2, saturating and
threshold observations alike. The nodes start wide (+-8 s, or +-100 s if need be) and close in on the mass: where
neighbouring chords of the log density meet bounds what a cell may hide, so a narrow peak between two nodes is not
missed. Two windows are kept where the density has two modes, two nested ones where a narrow peak stands on a wide base.

Where every other node gives other moments, as at the corner of a Laplace density, the jump of a threshold or a narrow
peak on the broad flanks of Student's t, panels between all nodes so far are integrated by Gauss and Kronrod's rules of
3 and 7 points, and those in which the two differ most are halved until they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ensf.arrays import Array, is_host, like, namespace, to_numpy

__all__ = ["tilted_moments"]

NODES = 32
PASSES = 8
NEGLIGIBLE, SUMMIT = 23.0, 4.0  # fall of the log density outside of a window, and of the inner one of two nested
ROUGH = 0.3  # what a cell on the summit may hide when nodes are fine enough
SAME = 0.7  # part of the old window that a new one must have to be the same
APART = 0.2  # gap between two modes with windows of their own, over the whole
NARROW = 0.15  # summit with a window of its own, over the whole
REACH = 100.0
SMALL = 20_000  # densities below which one thread is used
BLOCK = 2**17  # nodes worked on at once by a thread
COARSE = 1e-3  # difference of moments that every other node gives, over the spread, from which panels are used
PANELS, ROUNDS, TURNS = 4, 8, 4  # panels halved in a round, rounds until what is good is left out, and how often
TOLERANCE = 2e-3  # what the rule of 3 points may be off, over the moments; that of 7 is off by far less
IMPOSSIBLE = -1e30  # log density where the operator or the law has no value, as log x for x < 0
_HALF = np.array([0.960491268708020283, 0.774596669241483377, 0.434243749346802558])
_KRONROD = np.concatenate([-_HALF, [0.0], _HALF[::-1]])
_SIDE = np.array([0.104656226026467266, 0.268488089868333440, 0.401397414775962223])
_WEIGHTS = np.concatenate([_SIDE, [0.450916538658474142], _SIDE[::-1]])
_GAUSS = np.array([0.0, 5 / 9, 0.0, 8 / 9, 0.0, 5 / 9, 0.0])
_NEAR = np.linspace(-8.0, 8.0, NODES)
_FAR = np.sinh(np.linspace(-math.asinh(REACH), math.asinh(REACH), NODES))


def tilted_moments(
    log_likelihood: Callable[[Array, np.ndarray], Array], mean: Array, deviation: Array
) -> tuple[Array, Array]:
    """Mean and variance of N(mean, deviation^2) times a likelihood, for every entry.

    Many entries are worked off in blocks of the last axis that fit the processor's cache, several at once.

    Parameters
    ----------
    log_likelihood : callable
        ``(..., part, node), part -> (..., part, node)``: log p(y | h(x)) at x, for the entries of the last axis of
        `mean` with the indices `part`.
    mean, deviation : (..., entry) array
        Of the Gaussian.

    Returns
    -------
    mean, variance : (..., entry) arrays

    Notes
    -----
    Where the likelihood is NaN or minus infinity, as that of log x below zero, its density is 0.
    """
    entries = mean.shape[-1]
    step = max(1, BLOCK * entries // max(1, math.prod(mean.shape) * NODES)) if is_host(mean) else entries
    parts = [np.arange(first, min(first + step, entries)) for first in range(0, max(1, entries), max(1, step))]
    if len(parts) == 1:
        return _block(log_likelihood, mean, deviation, parts[0])
    from concurrent.futures import ThreadPoolExecutor

    import numba

    with ThreadPoolExecutor(numba.get_num_threads()) as threads:
        moments = threads.map(lambda part: _block(log_likelihood, mean, deviation, part), parts)
        centre, variance = zip(*moments, strict=True)
    return np.concatenate(centre, axis=-1), np.concatenate(variance, axis=-1)


Logs = Callable[[Array], Array]


def _block(log_likelihood: Callable, mean: Array, deviation: Array, part: np.ndarray) -> tuple[Array, Array]:
    """Moments of some entries."""
    xp = namespace(mean)
    first, after = (int(part[0]), int(part[-1]) + 1) if part.size else (0, 0)
    mean, deviation = mean[..., first:after], deviation[..., first:after]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        centre, variance, rough, nodes = _adaptive(_log_density(log_likelihood, mean, deviation, part), mean, deviation)
        for _ in range(TURNS):
            chosen = np.flatnonzero(to_numpy(rough).reshape(-1, part.size).any(axis=0))
            if not chosen.size:
                break
            index = like(chosen, mean)
            few = [xp.take(one, index, axis=rough.ndim - 1) for one in (mean, deviation, centre, variance, nodes)]
            density = _log_density(log_likelihood, few[0], few[1], part[chosen])
            *finer, still, edges = _by_panels(density, few[4], few[2][..., None], xp.sqrt(few[3])[..., None])
            place = like(np.minimum(np.searchsorted(chosen, np.arange(part.size)), chosen.size - 1), mean)
            new_centre, new_variance, still, nodes = (
                xp.take(one, place, axis=rough.ndim - 1) for one in (*finer, still, edges)
            )
            centre, variance = xp.where(rough, new_centre, centre), xp.where(rough, new_variance, variance)
            rough = rough & still
    return centre, variance


def _log_density(log_likelihood: Callable, mean: Array, deviation: Array, part: np.ndarray) -> Logs:
    mean, scale = mean[..., None], math.sqrt(0.5) / deviation[..., None]

    def log_density(nodes: Array) -> Array:
        departure, xp = (nodes - mean) * scale, namespace(nodes)
        logs = log_likelihood(nodes, part) - departure * departure
        return xp.where(xp.isfinite(logs), logs, like(np.asarray(IMPOSSIBLE, dtype=np.float64), logs))

    return log_density


def _adaptive(log_density: Logs, mean: Array, deviation: Array) -> tuple[Array, Array, Array, Array]:
    """Moments of a density, whether they are doubtful, and all nodes that panels may begin with.

    From the near starting nodes if they hold the mass, else from the far ones.
    """
    xp = namespace(mean)
    first = nodes = mean[..., None] + deviation[..., None] * like(_NEAR, mean)
    logs = log_density(nodes)
    edge = xp.maximum(logs[..., 0], logs[..., -1]) - xp.max(logs, axis=-1)
    if not bool(xp.all(edge < -NEGLIGIBLE)):
        first = nodes = mean[..., None] + deviation[..., None] * like(_FAR, mean)
        logs = log_density(nodes)
    for _ in range(PASSES):
        closer, settled = _closer(nodes, logs)
        if settled:
            break
        nodes, logs = closer, log_density(closer)
    centre, variance = _moments(nodes, logs, _trapezoid(nodes))
    half, half_variance = _moments(nodes[..., ::2], logs[..., ::2], _trapezoid(nodes[..., ::2]))
    off = xp.abs(half - centre) / xp.sqrt(variance) + xp.abs(half_variance / variance - 1)
    smooth = off < COARSE  # false for NaN as well
    return centre, variance, ~smooth, xp.sort(xp.concat([first[..., ::2], nodes[..., ::2]], axis=-1), axis=-1)


def _by_panels(log_density: Logs, edges: Array, centre: Array, spread: Array) -> tuple[Array, Array, Array, Array]:
    """Moments by panels between edges ``(..., edge)``, of which the worst are halved; whether doubtful; and edges."""
    xp = namespace(edges)
    take = xp.take_along_axis
    spread = xp.where(spread > 0, spread, edges[..., -1:] - edges[..., :1])
    low, high = edges[..., :-1], edges[..., 1:]
    powers, error, top = _integrated(log_density, low, high, centre, spread)
    for _ in range(ROUNDS):
        going = _doubtful(powers, error)[..., None]
        if not bool(xp.any(going)):
            break
        order = xp.argsort(error, axis=-1, descending=True)
        low, high, error, *powers = (take(one, order, axis=-1) for one in (low, high, error, *powers))
        left, right = low[..., :PANELS], high[..., :PANELS]
        middle = xp.where(going, 0.5 * (left + right), right)
        halves = xp.concat([left, middle], axis=-1), xp.concat([middle, right], axis=-1)
        new, new_error, new_top = _integrated(log_density, *halves, centre, spread)
        higher = xp.maximum(top, new_top)
        old_scale, new_scale = xp.exp(top - higher), xp.exp(new_top - higher)
        low, high = (
            xp.concat([one[..., PANELS:], more], axis=-1) for one, more in zip((low, high), halves, strict=True)
        )
        error, *powers = (
            xp.concat([one[..., PANELS:] * old_scale, more * new_scale], axis=-1)
            for one, more in zip((error, *powers), (new_error, *new), strict=True)
        )
        top = higher
    mass, first, second = (xp.sum(power, axis=-1) for power in powers)
    shift = first / mass
    edges = xp.sort(xp.concat([low, xp.max(high, axis=-1, keepdims=True)], axis=-1), axis=-1)
    variance = spread[..., 0] ** 2 * (second / mass - shift * shift)
    return centre[..., 0] + spread[..., 0] * shift, variance, _doubtful(powers, error), edges


def _doubtful(powers: list[Array], error: Array) -> Array:
    xp = namespace(error)
    return xp.sum(error, axis=-1) > TOLERANCE * xp.sum(powers[0] + powers[2], axis=-1)


def _integrated(
    log_density: Logs, low: Array, high: Array, centre: Array, spread: Array
) -> tuple[list[Array], Array, Array]:
    """Integrals of 1, u, u^2 times the density over panels, how doubtful, and the log of their unit.

    Here u = (x - centre) / spread.
    """
    xp = namespace(low)
    half = 0.5 * (high - low)
    nodes = (low + half)[..., None] + half[..., None] * like(_KRONROD, low)
    logs = xp.reshape(log_density(xp.reshape(nodes, (*low.shape[:-1], -1))), nodes.shape)
    top = xp.max(logs, axis=(-2, -1))[..., None]
    weight, off = like(_WEIGHTS, low), like(_WEIGHTS - _GAUSS, low)
    mass, u = xp.exp(logs - top[..., None]) * half[..., None], (nodes - centre[..., None]) / spread[..., None]
    powers = [mass, mass * u, mass * u * u]
    error = xp.sum(xp.stack([xp.abs(xp.sum(off * one, axis=-1)) for one in powers]), axis=0)
    return [xp.sum(weight * one, axis=-1) for one in powers], error, top


def _moments(nodes: Array, logs: Array, weights: Array) -> tuple[Array, Array]:
    xp = namespace(nodes)
    mass = weights * xp.exp(logs - xp.max(logs, axis=-1, keepdims=True))
    total = xp.sum(mass, axis=-1)
    mean = xp.sum(mass * nodes, axis=-1) / total
    departure = nodes - mean[..., None]
    return mean, xp.sum(mass * departure * departure, axis=-1) / total


def _trapezoid(nodes: Array) -> Array:
    """Weights of the trapezoidal rule, times two; spectrally accurate where a density fades at both ends."""
    xp = namespace(nodes)
    width = nodes[..., 1:] - nodes[..., :-1]
    edge = xp.zeros_like(nodes[..., :1])
    return xp.concat([width, edge], axis=-1) + xp.concat([edge, width], axis=-1)


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
        here, seen = x[..., i : i + 1], kept[..., i : i + 1]
        wider = seen & (here - end > right - left)
        left, right = xp.where(wider, end, left), xp.where(wider, here, right)
        end = xp.where(seen, x[..., i + 1 : i + 2], end)
    return left, right
