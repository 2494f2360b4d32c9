"""Quantile-conserving filter: one scalar observation after another, any error law, any marginal.

For each observation k with members eta_j of what it sees,

    eta_j -> F_a^{-1}(F(eta_j)),     F, F_a prior and posterior distribution functions (`marginals`),
    x_j   -> x_j + rho cov(x, eta) / var(eta) (change of eta_j),

for every state variable x within the localization and every eta of an observation still to come; rho is the
Gaspari-Cohn taper. Observations that are a pointwise function of a linear map, h(x)_k = f((L x)_k), are taken at
eta = (L x)_k with the likelihood p(y_k | f(eta)), others at eta = h(x)_k. In probit space all of these are replaced,
before the first observation, by the normal scores of their rank histograms, in which the regression is done, and
taken back after the last (Anderson 2023, MWR 151, 2759).

Observations are taken in the given order; each needs what the earlier ones did, so the loop over them is serial. NumPy
arrays go through compiled loops, in one call where errors are Gaussian and nothing is between eta and y; other arrays
through array code, with a Python loop over observations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ensf.arrays import Array, Generator, is_host, like, namespace
from ensf.filters.base import Analysis
from ensf.filters.quantile.compiled import assimilate, gaussian_loop, look
from ensf.filters.quantile.marginals import Kernel, RankHistogram, conserve_quantiles, interpolate, normal_scores
from ensf.localization import Localization, gaspari_cohn
from ensf.observations import Correlated, Gaussian, Observation, Pointwise

__all__ = ["Kernel", "QuantileFilter", "RankHistogram"]


@dataclass(frozen=True)
class QuantileFilter:
    """Quantile-conserving ensemble filter framework.

    Source: Anderson (2022), MWR 150, 1061, section 2; regression in probit space: Anderson (2023), MWR 151, 2759,
    section 2. With ``RankHistogram()`` the rank histogram filter (Anderson 2010, MWR 138, 4186), with ``Kernel(1.0)``
    for Gaussian errors the ensemble adjustment Kalman filter (Anderson 2001, MWR 129, 2884).

    Parameters
    ----------
    localization : Localization, optional
        Where the state variables are and how far an observation reaches; None = everywhere.
    marginal : RankHistogram or Kernel
        Prior marginal of what an observation sees.
    probit : bool
        Regress in the space of normal scores.
    """

    localization: Localization | None = None
    marginal: RankHistogram | Kernel = RankHistogram()
    probit: bool = False

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If the prior or the predicted observations do not fit, errors are correlated, the place of an
            observation is unknown, or an observation is impossible for the prior.
        """
        check_prior(prior, observation)
        observation = observation.present(prior.dtype)
        if observation.size == 0:
            return Analysis(prior, memory)
        if isinstance(observation.law, Correlated):
            raise ValueError("a serial filter needs independent observation errors: give standard deviations")
        predicted = _seen(observation)(prior)
        check_predicted(predicted, observation)
        reach = _reach(self.localization, observation, prior.shape[1])
        rows = namespace(prior).concat([prior.T, predicted.T])
        if is_host(prior):
            analysis = _compiled(np.ascontiguousarray(rows), observation, self.marginal, self.probit, reach)
            return Analysis(np.ascontiguousarray(analysis[: prior.shape[1]].T), memory)
        analysis = _plain(rows, observation, self.marginal, self.probit, reach)
        return Analysis(analysis[: prior.shape[1], ...].T, memory)


# --- what an observation sees ----------------------------------------------------------------------------


def _seen(observation: Observation) -> Callable[[Array], Array]:
    operator = observation.operator
    return operator.linear if isinstance(operator, Pointwise) else operator


def _log_likelihood(observation: Observation, k: int, nodes: Array) -> Array:
    """Log likelihood of observation k at values ``(node,)`` of what it sees; zero likelihood where h is undefined."""
    xp, operator = namespace(nodes), observation.operator
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        alone, states = np.array([k]), nodes[:, None]
        predicted = operator.function.restrict(alone)(states) if isinstance(operator, Pointwise) else states
        logs = observation.law.restrict(alone).log_density(observation.value[k : k + 1], predicted)
    logs = xp.where(xp.isnan(logs), -xp.inf, logs)
    if not bool(xp.isfinite(xp.max(logs))):
        raise ValueError(
            f"observation {k} has no likelihood over the range of the prior: check its value and operator, or use a "
            "larger observation error"
        )
    return logs


@dataclass(frozen=True, eq=False)
class _Reach:
    """Rows (state variables, then observations) that observation k changes: ``index[start[k]:stop[k]]``."""

    start: np.ndarray
    stop: np.ndarray
    index: np.ndarray
    taper: np.ndarray

    def dense(self, k: int, rows: Array) -> Array:
        """Taper of every row."""
        near = slice(self.start[k], self.stop[k])
        taper = np.zeros(rows.shape[0])
        taper[self.index[near]] = self.taper[near]
        return like(taper, rows)


def _reach(localization: Localization | None, observation: Observation, size: int) -> _Reach:
    if localization is None:
        everything, ends = size + observation.size, np.ones(observation.size, dtype=np.int64)
        return _Reach(0 * ends, everything * ends, np.arange(everything), np.ones(everything))
    observed = np.ascontiguousarray(observed_positions(observation, localization, size), dtype=np.float64)
    return _local_reach(localization, observed.tobytes(), observed.shape)


@lru_cache(maxsize=4)
def _local_reach(localization: Localization, observed: bytes, shape: tuple[int, int]) -> _Reach:
    positions, size = np.frombuffer(observed).reshape(shape), len(localization.position)
    rows = np.concatenate([localization.position, positions])
    near = localization.geometry.pairs(positions, rows, 2 * localization.half_width).tocoo()
    taper = gaspari_cohn(near.data, localization.half_width)
    keep = (taper > 0) & ((near.col < size) | (near.col - size > near.row))
    ends = np.concatenate([[0], np.cumsum(np.bincount(near.row[keep], minlength=shape[0]))])
    return _Reach(ends[:-1], ends[1:], near.col[keep].astype(np.int64), taper[keep])


# --- compiled --------------------------------------------------------------------------------------------


def _compiled(rows: np.ndarray, observation: Observation, marginal: Any, probit: bool, reach: _Reach) -> np.ndarray:
    table = marginal.table(rows.shape[1])
    scores, ordered = _probit_tables(rows) if probit else (np.empty(0, rows.dtype), np.empty((0, 0), rows.dtype))
    rows = _to_scores(rows, scores) if probit else rows
    near = reach.start, reach.stop, reach.index, reach.taper
    if isinstance(observation.law, Gaussian) and not isinstance(observation.operator, Pointwise):
        error = observation.law.standard_deviation(observation.value)
        gaussian_loop(rows, observation.value.copy(), error.copy(), table, scores, ordered, *near)
    else:
        for k in range(observation.size):
            values, nodes, mass = look(rows, k, observation.size, table, scores, ordered)
            assimilate(rows, k, values, nodes, mass, _log_likelihood(observation, k, nodes), scores, ordered, *near)
    return _from_scores(rows, scores, ordered) if probit else rows


# --- array code ------------------------------------------------------------------------------------------


def _plain(rows: Array, observation: Observation, marginal: Any, probit: bool, reach: _Reach) -> Array:
    scores, ordered = _probit_tables(rows) if probit else (rows, rows)
    rows = _to_scores(rows, scores) if probit else rows
    for k in range(observation.size):
        row = rows.shape[0] - observation.size + k
        values = interpolate(rows[row, :], scores, ordered[row, :]) if probit else rows[row, :]
        nodes, mass = marginal.cells(values)
        moved = conserve_quantiles(values, nodes, mass, _log_likelihood(observation, k, nodes))
        if probit:
            moved, values = (interpolate(part, ordered[row, :], scores) for part in (moved, values))
        rows = rows + _regression(rows, row)[:, None] * reach.dense(k, rows)[:, None] * (moved - values)
    return _from_scores(rows, scores, ordered) if probit else rows


def _regression(rows: Array, row: int) -> Array:
    """Regression coefficient of every row on one row; 0 where that one has no spread."""
    xp = namespace(rows)
    departures = rows[row, :] - xp.mean(rows[row, :])
    variance = xp.sum(departures * departures)
    products = xp.matmul(rows - rows[:, :1], departures)
    return products / xp.where(variance > 0, variance, xp.inf * xp.ones_like(variance))


# --- probit space ----------------------------------------------------------------------------------------


def _probit_tables(rows: Array) -> tuple[Array, Array]:
    """Normal scores ``(node,)`` and the values of every row there ``(row, node)``: sorted members, Gaussian tails."""
    xp = namespace(rows)
    scores = like(normal_scores(rows.shape[1]), rows)
    ordered, spread = xp.sort(rows, axis=-1), xp.std(rows, axis=-1, correction=1, keepdims=True)
    reach = scores[1] - scores[0]
    return scores, xp.concat([ordered[:, :1] - reach * spread, ordered, ordered[:, -1:] + reach * spread], axis=-1)


def _to_scores(rows: Array, scores: Array) -> Array:
    xp = namespace(rows)
    rank = xp.argsort(xp.argsort(rows, axis=-1), axis=-1)
    return xp.reshape(xp.take(scores, xp.reshape(rank, (-1,)) + 1), rows.shape)


def _from_scores(rows: Array, scores: Array, ordered: Array) -> Array:
    """Piecewise linear from scores to the values of each row."""
    xp = namespace(rows)
    flat, table = xp.reshape(rows, (-1,)), xp.reshape(ordered, (-1,))
    cell = xp.clip(xp.searchsorted(scores, flat, side="right") - 1, 0, scores.shape[0] - 2)
    fraction = (flat - xp.take(scores, cell)) / (xp.take(scores, cell + 1) - xp.take(scores, cell))
    number = xp.arange(flat.shape[0], device=rows.device) // rows.shape[1] * scores.shape[0] + cell
    low, high = xp.take(table, number), xp.take(table, number + 1)
    return xp.reshape(low + fraction * (high - low), rows.shape)
