"""Scores against the truth, and of the members alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

from ensf.arrays import Array, Generator, is_double, is_host, like, namespace, stream

__all__ = [
    "bias",
    "coverage",
    "crps",
    "effective_sample_size",
    "marginal_scores",
    "rank_histogram",
    "rmse",
    "spread",
    "spread_skill",
]


def rmse(estimate: Array, truth: Array) -> Array:
    """Root mean square error over components.

    Parameters
    ----------
    estimate : (..., state) or (..., member, state) array
        A state; or an ensemble (one axis more than `truth`), whose mean is taken.
    truth : (..., state) array

    Returns
    -------
    (...) array
        In the units of the state. The summary of a run is the time mean of this, not the root of a mean square.
    """
    error = _error(estimate, truth)
    return namespace(error).sqrt(_mean(error * error, -1))


def bias(estimate: Array, truth: Array) -> Array:
    """Mean error over components; arguments as for `rmse`."""
    return _mean(_error(estimate, truth), -1)


def spread(ensemble: Array) -> Array:
    """Standard deviation of the members (divisor N - 1), RMS over components: ``(..., member, state) -> (...)``."""
    xp = namespace(ensemble)
    around = ensemble if is_double(ensemble) else ensemble - ensemble[..., :1, :]  # exact, however large these are
    return xp.sqrt(_mean(xp.var(around, axis=-2, correction=1), -1))


def spread_skill(ensemble: Array, truth: Array) -> Array:
    """``sqrt((N + 1) / N) spread / rmse``: about 1 if truth and members are draws from one law.

    Source: Fortin et al. (2014), J. Hydrometeorol. 15, 1708.
    """
    members = ensemble.shape[-2]
    return math.sqrt((members + 1) / members) * spread(ensemble) / rmse(ensemble, truth)


def crps(ensemble: Array, truth: Array) -> Array:
    """Fair continuous ranked probability score, mean over components: ``(..., member, state) -> (...)``.

    Source: Ferro (2014), Q. J. R. Meteorol. Soc. 140, 1917; sorted form.
    """
    return marginal_scores(ensemble, truth).crps


def coverage(ensemble: Array, truth: Array, level: float = 0.95) -> Array:
    """Fraction of components whose truth lies in the central interval of the ensemble.

    The interval is ``m +- t s sqrt(1 + 1/N)`` with the quantile t of Student's law with N - 1 degrees of freedom.
    It covers one more draw from the Gaussian law of the members with probability `level` for every N. Quantiles
    of 20 members cover .87 where .95 is nominal, and ``m +- 1.96 s`` covers .93.

    Parameters
    ----------
    ensemble : (..., member, state) array
    truth : (..., state) array
    level : float
        Nominal coverage, between 0 and 1.
    """
    return marginal_scores(ensemble, truth, level).coverage


def rank_histogram(ensemble: Array, truth: Array, rng: Generator | None = None) -> Array:
    """How often the truth has rank 0, ..., N among the members, counted over components.

    Parameters
    ----------
    ensemble : (..., member, state) array
    truth : (..., state) array
    rng : numpy.random.Generator, optional
        Breaks ties between truth and members at random; without it the truth takes the lowest rank.

    Returns
    -------
    (..., member + 1) array of integers
    """
    xp = namespace(ensemble, truth)
    rank = _number(ensemble < truth[..., None, :])
    if rng is not None:
        ties = _number(ensemble == truth[..., None, :])
        draw = xp.astype(xp.floor(_uniform(rng, truth) * xp.astype(ties + 1, truth.dtype)), ties.dtype)
        rank = rank + xp.minimum(draw, ties)
    return _count(rank, ensemble.shape[-2] + 1)


def effective_sample_size(weights: Array) -> Array:
    """``(sum w)^2 / sum w^2`` along the last axis: N for equal weights, 1 if one member has it all."""
    total = namespace(weights).sum(weights, axis=-1)
    return total * total / namespace(weights).vecdot(weights, weights)


def _mean(values: Array, axis: int) -> Array:
    return namespace(values).sum(values, axis=axis) / values.shape[axis]


def _error(estimate: Array, truth: Array) -> Array:
    if estimate.ndim == truth.ndim:
        return estimate - truth
    if is_double(estimate):
        return _mean(estimate, -2) - truth
    return _mean(estimate - truth[..., None, :], -2)


def _number(condition: Array) -> Array:
    """How many members meet a condition."""
    xp = namespace(condition)
    return xp.sum(xp.astype(condition, xp.int32), axis=-2, dtype=xp.int32)


def _uniform(rng: Generator, array: Array) -> Array:
    values = stream(rng, array).random(tuple(array.shape))
    return like(values, array) if is_host(values) else values


def _count(rank: Array, bins: int) -> Array:
    """Histogram of integers along the last axis, ``(..., state) -> (..., bins)``."""
    xp = namespace(rank)
    rows = math.prod(rank.shape[:-1])
    first = bins * xp.arange(rows, dtype=rank.dtype, device=rank.device)
    labels = xp.reshape(xp.reshape(rank, (rows, -1)) + first[:, None], (-1,))
    edges = xp.arange(bins * rows + 1, dtype=rank.dtype, device=rank.device)
    below = xp.searchsorted(xp.sort(labels), edges)
    return xp.reshape(below[1:] - below[:-1], (*rank.shape[:-1], bins))


class _Marginals(NamedTuple):
    rmse: Array
    bias: Array
    spread: Array
    crps: Array
    coverage: Array


def marginal_scores(ensemble: Array, truth: Array, level: float = 0.95) -> _Marginals:
    """Everything that one sort of the members tells."""
    from scipy.special import stdtrit

    xp = namespace(ensemble, truth)
    members = ensemble.shape[-2]
    interval = float(stdtrit(members - 1, (1 + level) / 2)) * math.sqrt(1 + 1 / members)
    if is_host(ensemble) and ensemble.ndim == 2:
        errors = np.subtract(ensemble.T, truth[:, None], order="C")
        errors.sort()
        return _Marginals(*map(errors.dtype.type, _compiled()(errors, interval)))
    errors = xp.sort(xp.matrix_transpose(ensemble) - truth[..., None], stable=False)
    error = _mean(errors, -1)
    variance = xp.sum((errors - error[..., None]) ** 2, axis=-1) / (members - 1)
    weight = like(np.arange(1.0 - members, members, 2) / (members - 1), errors)
    miss = _mean(xp.abs(errors) - weight * errors, -1)
    inside = xp.astype(error * error <= interval**2 * variance, errors.dtype)
    root = [xp.sqrt(_mean(square, -1)) for square in (error * error, variance)]
    return _Marginals(root[0], _mean(error, -1), root[1], _mean(miss, -1), _mean(inside, -1))


@cache
def _compiled() -> Callable[[np.ndarray, float], tuple[float, ...]]:
    """`marginal_scores` from sorted errors (state, member) on the host."""
    from ensf.arrays.kernels import compiled

    @compiled(error_model="numpy")
    def sorted_marginals(errors, interval):
        size, members = errors.shape
        square = bias = variance = crps = inside = 0.0
        for row in errors:
            total = miss = gini = rest = 0.0
            for m in range(members):
                total += row[m]
                miss += abs(row[m])
                gini += (2 * m + 1 - members) * row[m]
            mean = total / members
            for m in range(members):
                rest += (row[m] - mean) ** 2
            square += mean**2
            bias += mean
            variance += rest / (members - 1)
            crps += (miss - gini / (members - 1)) / members
            inside += mean**2 <= interval**2 * rest / (members - 1)
        return np.sqrt(square / size), bias / size, np.sqrt(variance / size), crps / size, inside / size

    return sorted_marginals
