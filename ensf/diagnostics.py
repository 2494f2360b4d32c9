"""Scores of ensembles: arrays in, arrays out.

Members x_1, ..., x_N with mean m and sample standard deviation s (divisor N - 1), truth x. Over the components of
the state,

    rmse = sqrt(mean (m - x)^2),   bias = mean (m - x),   spread = sqrt(mean s^2),

and from the sorted members x_(1) <= ... <= x_(N) the fair continuous ranked probability score, whose expectation
does not depend on N,

    crps = mean |x_i - x| - sum_i (2 i - N - 1) x_(i) / (N (N - 1)).

Against p observations y = h(x) + e, e ~ N(0, R), everything follows from the whitened *departures*
w_i = R^(-1/2) (y - h(x_i)), their mean d and their anomalies A = (w - d) / sqrt(N - 1):

    chi2 = d^T (I + A^T A)^(-1) d / p

is 1 on average if spread and error explain the innovations d; with d_b of the forecast and d_a of the analysis,
E[d_a d_b^T] = I and E[(d_b - d_a) d_b^T] = A^T A. Observations that are NaN do not count.

Ensembles are (..., member, state), truths (..., state); results have the leading axes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np
from scipy.special import stdtrit

from ensf.arrays import Array, Generator, is_host, like, namespace, stream, to_numpy
from ensf.observation import Observation

__all__ = [
    "Desroziers",
    "bias",
    "coverage",
    "crps",
    "departures",
    "desroziers",
    "effective_sample_size",
    "innovation_chi2",
    "rank_histogram",
    "rmse",
    "scores",
    "spread",
    "spread_skill",
]


# --- against the truth -----------------------------------------------------------------------------------


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
    return xp.sqrt(_mean(xp.var(ensemble, axis=-2, correction=1), -1))


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
    return _marginals(ensemble, truth).crps


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
    return _marginals(ensemble, truth, level).coverage


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
    return (_mean(estimate, -2) if estimate.ndim == truth.ndim + 1 else estimate) - truth


def _number(condition: Array) -> Array:
    """How many members meet a condition."""
    xp = namespace(condition)
    return xp.sum(xp.astype(condition, xp.int32), axis=-2, dtype=xp.int32)


def _uniform(rng: Generator, array: Array) -> Array:
    values = stream(rng, array).random(tuple(array.shape))
    return like(values, array) if isinstance(values, np.ndarray) else values


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


def _marginals(ensemble: Array, truth: Array, level: float = 0.95) -> _Marginals:
    """Everything that one sort of the members tells."""
    xp = namespace(ensemble, truth)
    members = ensemble.shape[-2]
    interval = float(stdtrit(members - 1, (1 + level) / 2)) * math.sqrt(1 + 1 / members)
    if is_host(ensemble) and ensemble.ndim == 2:
        errors = np.subtract(ensemble.T, truth[:, None], order="C")
        errors.sort()
        return _Marginals(*map(errors.dtype.type, _sorted_marginals(errors, interval)))
    errors = xp.sort(xp.matrix_transpose(ensemble) - truth[..., None], stable=False)
    error = _mean(errors, -1)
    variance = xp.sum((errors - error[..., None]) ** 2, axis=-1) / (members - 1)
    weight = like(np.arange(1.0 - members, members, 2) / (members - 1), errors)
    miss = _mean(xp.abs(errors) - weight * errors, -1)
    inside = xp.astype(error * error <= interval**2 * variance, errors.dtype)
    root = [xp.sqrt(_mean(square, -1)) for square in (error * error, variance)]
    return _Marginals(root[0], _mean(error, -1), root[1], _mean(miss, -1), _mean(inside, -1))


@numba.njit(cache=True, error_model="numpy", fastmath={"reassoc"})
def _sorted_marginals(errors, interval):
    """`_marginals` from sorted errors (state, member) on the host."""
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


# --- against the observations ----------------------------------------------------------------------------


class Desroziers(NamedTuple):
    """Ratios of an estimated variance to the assumed one; 1 is consistent."""

    error: Array
    spread: Array


def departures(ensemble: Array, observation: Observation) -> Array:
    """Whitened departures ``R^(-1/2) (y - h(x_i))`` of the observations that are not NaN.

    Parameters
    ----------
    ensemble : (..., member, state) array
    observation : Observation

    Returns
    -------
    (..., member, present) array

    Raises
    ------
    ValueError
        If the errors are not Gaussian.
    """
    if not hasattr(observation.law, "whiten"):
        raise ValueError(f"error law {observation.law!r} cannot be whitened: give a Gaussian error")
    residuals = observation.value - observation.operator(ensemble)
    missing = namespace(observation.value).isnan(observation.value)
    if not bool(namespace(missing).any(missing)):
        return observation.law.whiten(residuals)
    index = np.flatnonzero(~to_numpy(missing))
    present = namespace(residuals).take(residuals, like(index, residuals), axis=-1)
    return observation.law.restrict(index).whiten(present)


def innovation_chi2(forecast: Array, observation: Observation) -> Array:
    """``d^T (H B H^T + R)^(-1) d / p`` with the covariance B of the forecast ensemble.

    Parameters
    ----------
    forecast : (..., member, state) array
    observation : Observation

    Returns
    -------
    (...) array
        1 on average for a large consistent ensemble, more for a small one.
    """
    whitened = departures(forecast, observation)
    return _consistency(whitened, whitened)[0]


def desroziers(forecast: Array, analysis: Array, observation: Observation) -> Desroziers:
    """Observation error and forecast spread that the departures imply, over the assumed ones.

    One batch of observations is a sample, which can even be negative: average many before reading them.

    Parameters
    ----------
    forecast, analysis : (..., member, state) array
    observation : Observation

    Returns
    -------
    Desroziers
        ``d_a^T d_b / p`` for the variance R and ``(d_b - d_a)^T d_b / tr(A^T A)`` for H B H^T. Departures are
        whitened, so observations of different units mix.

    Notes
    -----
    Source: Desroziers, Berre, Chapnik & Poli (2005), Q. J. R. Meteorol. Soc. 131, 3385, eqs. 3 and 2.
    """
    return Desroziers(*_consistency(departures(forecast, observation), departures(analysis, observation))[1:])


def _consistency(prior: Array, posterior: Array) -> tuple[Array, Array, Array]:
    """chi2 and Desroziers ratios from whitened departures (..., member, observation)."""
    xp = namespace(prior)
    members, size = prior.shape[-2:]
    innovation, residual = _mean(prior, -2), _mean(posterior, -2)
    anomalies = (prior - innovation[..., None, :]) / math.sqrt(members - 1)
    variance = xp.sum(anomalies * anomalies, axis=(-2, -1))
    error = xp.vecdot(residual, innovation)
    gain = xp.vecdot(innovation, innovation) - error
    return _misfit(innovation, anomalies) / size, error / size, gain / variance


def _misfit(innovation: Array, anomalies: Array) -> Array:
    """``d^T (I + A^T A)^(-1) d = min_w |d - A^T w|^2 + |w|^2``, at ``w = (I + A A^T)^(-1) A d``."""
    xp = namespace(anomalies)
    column, transposed = innovation[..., None], xp.matrix_transpose(anomalies)
    members, size = anomalies.shape[-2:]
    identity = xp.eye(min(members, size), dtype=anomalies.dtype, device=anomalies.device)
    if size < members:
        return xp.vecdot(innovation, xp.linalg.solve(identity + transposed @ anomalies, column)[..., 0])
    weight = xp.linalg.solve(identity + anomalies @ transposed, anomalies @ column)
    rest, weight = (column - transposed @ weight)[..., 0], weight[..., 0]
    return xp.vecdot(rest, rest) + xp.vecdot(weight, weight)


# --- one cycle -------------------------------------------------------------------------------------------

_SCORES = (
    [f"{score}_forecast" for score in ("rmse", "bias", "spread", "crps")]
    + [f"{score}_analysis" for score in ("rmse", "bias", "spread", "crps")]
    + ["coverage95", "chi2", "desroziers_error", "desroziers_spread"]
)
REPORTED = ("model_runs",)
"""Numbers that go on from a filter's `info`, if it has them."""


@np.errstate(all="ignore")
def scores(cycle: Any) -> dict[str, float]:
    """Compute the standard scores of one cycle (`ensf.twin.Cycle`).

    Returns
    -------
    dict
        ``rmse_``, ``bias_``, ``spread_`` and ``crps_`` of ``forecast`` and ``analysis``, in the units of the
        state; ``coverage95`` of the analysis; ``chi2`` of the forecast; ``desroziers_error``,
        ``desroziers_spread``. The last three are NaN if nothing was observed or errors are not Gaussian. Then
        ``model_runs``, if the filter reports them.
    """
    forecast, analysis, observation = cycle.forecast, cycle.analysis.ensemble, cycle.observation
    values = [*_marginals(forecast, cycle.truth)[:4], *_marginals(analysis, cycle.truth)]
    if hasattr(observation.law, "whiten"):
        values += _consistency(departures(forecast, observation), departures(analysis, observation))
    host = values if is_host(forecast) else to_numpy(namespace(forecast).stack(values))
    numbers = [float(value) for value in host]
    info = getattr(cycle.analysis, "info", {})
    reported = {name: float(info[name]) for name in REPORTED if name in info}
    return dict(zip(_SCORES, numbers + [math.nan] * (len(_SCORES) - len(numbers)), strict=True)) | reported
