r"""What two cycles in a row say of the prior variance and of the error variance, each apart.

The innovations d_t of one cycle give lambda v + rho r alone: a wrong prior looks like a wrong R. Those of the next
cycle at the same places tell them apart (Mehra 1970; Berry & Sauer 2013): with increments delta, prior variance
P = lambda v, and the same members before and after the model,

    E[d_(t+1) d_t] = beta (P - delta_t d_t),       beta_k = cov_j(H x_j(t+1), H x_j(t)) / var_j(H x_j(t)),
    cross_k = beta (d_(t+1) + beta delta_t) d_t,   lambda = sum cross / sum beta^2 v_t,
    rho = (sum w d_t^2 / r - lambda sum w v_t / r) / sum w,      w = 1 / (1 + v_t / (rho r))^2

with the weights w in lambda too: where the forecast is known well, R is. delta is what the filter did, whatever it
believed: the estimate does not feed itself. If the prior variance or R is wrong by a factor, the covariance of the
analysis error with d is proportional to the analysis covariance, so the same holds for observations of two places, with
beta between them: where the network moves, an observation is compared with the nearest one of its kind in the cycle
before (`Sites.partners`). For linear operators and Gaussian laws, and as long as a place keeps what it had: with c the
correlation of members before and after the model, a pair counts as 2 c^2 - 1, and not at all where windows are long and
fields move on (there lambda comes out too small). Through a pointwise sensor rho comes from the median of d^2 / (r + v
/ rho) where v < .3 rho r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Record, centred, like, member_mean, namespace, rows, to_numpy
from ensf.localization import Localization

__all__ = ["ErrorEstimate", "LaggedProducts", "LastCycle", "Sites", "lagged_products"]

PERSISTENCE = 100
"""Cycles over which the factor of R is estimated."""
PRIOR = 0.25
"""Variance of the factor of R before there is evidence."""
MIN_FACTOR, MAX_FACTOR = 0.5, 1e6
MAX_FACTOR_POINTWISE = 8.0
"""Where one cycle alone cannot tell a wrong R from a lost filter."""
SUMS = 5
EDGES = np.linspace(-9.0, 7.0, 81)
"""Of the histogram of log q."""
MEDIAN = 0.455
"""Of the square of a standard normal variate."""


NEAR = 0.25
"""Half-widths within which observations of two cycles are compared."""


@dataclass(frozen=True, eq=False)
class Sites(Record):
    """Which observation is which.

    Attributes
    ----------
    kind : (observation,) array of int
        Number of its kind.
    position : (observation, dimension) array
    variable : (observation,) array of int
        That it reads; -1 if it does not read a single one.
    """

    kind: np.ndarray
    position: np.ndarray
    variable: np.ndarray

    def __len__(self) -> int:
        return len(self.kind)

    def partners(self, before: Sites, localization: Localization) -> tuple[np.ndarray, np.ndarray]:
        """Observations of this cycle and their partners of the one before: the same, else the nearest of the kind.

        Each has one partner at most. Nearest is who is nearest to each other, within a part of the half-width.

        Returns
        -------
        now, then : (pair,) arrays of int
            `now` is ascending.
        """
        now, then = self._same(before)
        reach = NEAR * localization.half_width
        if len(now) == len(self) or len(then) == len(before) or math.isinf(reach):
            return now, then
        others = np.setdiff1d(np.arange(len(self)), now), np.setdiff1d(np.arange(len(before)), then)
        near = localization.geometry.pairs(self.position[others[0]], before.position[others[1]], reach).tocoo()
        row, column = others[0][near.row], others[1][near.col]
        of_kind = np.flatnonzero(self.kind[row] == before.kind[column])
        order = of_kind[np.argsort(near.data[of_kind], kind="stable")]
        nearest = np.unique(row[order], return_index=True)[1], np.unique(column[order], return_index=True)[1]
        pairs = order[np.intersect1d(*nearest)]
        now, then = np.concatenate([now, row[pairs]]), np.concatenate([then, column[pairs]])
        order = np.argsort(now)
        return now[order], then[order]

    def _same(self, before: Sites) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of the same kind, place and variable, if there is one such observation in each cycle."""
        if before.position.shape[1] != self.position.shape[1]:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        both = np.concatenate([before._rows(), self._rows()])
        _, which = np.unique(both, axis=0, return_inverse=True)
        which = which.ravel()
        first, second = which[: len(before)], which[len(before) :]
        counts = [np.bincount(one, minlength=which.max(initial=-1) + 1) for one in (first, second)]
        place = np.full(len(counts[0]), -1)
        place[first] = np.arange(len(before))
        now = np.flatnonzero((counts[0] == 1)[second] & (counts[1] == 1)[second])
        return now, place[second[now]]

    def _rows(self) -> np.ndarray:
        return np.column_stack([self.kind, self.position, self.variable])

    def rows(self, index: np.ndarray) -> Sites:
        """Some of them."""
        return Sites(self.kind[index], self.position[index], self.variable[index])


@dataclass(frozen=True, eq=False)
class LastCycle(Record):
    """What the cycle before leaves at its observations.

    Attributes
    ----------
    sites : Sites
    innovation, increment, variance, error : (observation,) array
        d, delta, prior variance v, error variance r as told.
    anomalies : (member, observation) array
        Of the analysis.
    surprised : (observation,) array of bool
    """

    sites: Sites
    innovation: Array
    increment: Array
    variance: Array
    error: Array
    anomalies: Array
    surprised: np.ndarray


@dataclass(frozen=True, eq=False)
class LaggedProducts(Record):
    """Of the observations that have a partner in the cycle before.

    Attributes
    ----------
    index : (pair,) array of int
        Which observations of this cycle.
    last : LastCycle
        Those of the cycle before.
    cross, memory : (pair,) array
        cross and beta^2.
    weight : (pair,) array
        0 to 1: how much of what a place had is still there.
    """

    index: np.ndarray
    last: LastCycle
    cross: Array
    memory: Array
    weight: Array

    def restrict(self, chosen: np.ndarray) -> LaggedProducts:
        """The pairs that are chosen."""
        if chosen.all():
            return self
        index = np.flatnonzero(chosen)
        cross, memory, weight = (rows(one, index) for one in (self.cross, self.memory, self.weight))
        return LaggedProducts(self.index[index], _restricted(self.last, index), cross, memory, weight)

    def score(self, factor: np.ndarray, variance: Array, error: Array) -> tuple[Array, Array]:
        """Derivative by log lambda, and information, of each pair.

        Parameters
        ----------
        factor : (pair,) array
            rho.
        variance, error : (observation,) array
            v and r of this cycle.
        """
        rho = like(factor, self.cross)
        then = self.last.variance + rho * self.last.error
        now = rows(variance, self.index) + rho * rows(error, self.index)
        expected = self.memory * self.last.variance
        score = self.last.variance * (self.cross - expected) / (then * now)
        return score, expected * self.last.variance / (then * now)


def lagged_products(
    last: LastCycle, sites: Sites, localization: Localization, innovation: Array, forecast: Array
) -> LaggedProducts | None:
    """Products of this cycle with the last one; None if no observation has a partner, or with other members.

    Parameters
    ----------
    last : LastCycle
    sites : Sites
    localization : Localization
        How far partners are apart at most.
    innovation : (observation,) array
    forecast : (member, observation) array
        Before inflation.
    """
    if last.anomalies.shape[0] != forecast.shape[0]:
        return None
    now, then = sites.partners(last.sites, localization)
    if not len(now):
        return None
    last = _restricted(last, then)
    forecast = namespace(forecast).take(forecast, like(now, forecast), axis=1)
    anomalies = centred(forecast)
    xp = namespace(anomalies)
    before, after = member_mean(last.anomalies**2), member_mean(anomalies**2)
    covariance = member_mean(anomalies * last.anomalies)
    beta = covariance / xp.where(before > 0, before, xp.ones_like(before))
    correlation2 = beta * covariance / xp.where(after > 0, after, xp.ones_like(after))
    weight = xp.clip(2 * correlation2 - 1, 0.0, 1.0)
    cross = beta * (rows(innovation, now) + beta * last.increment) * last.innovation
    return LaggedProducts(now, last, cross, beta * beta, weight)


def _restricted(last: LastCycle, index: np.ndarray) -> LastCycle:
    if len(index) == len(last.sites) and (index == np.arange(len(index))).all():
        return last
    taken = {name: rows(getattr(last, name), index) for name in ("innovation", "increment", "variance", "error")}
    anomalies = namespace(last.anomalies).take(last.anomalies, like(index, last.anomalies), axis=1)
    return replace(last, sites=last.sites.rows(index), surprised=last.surprised[index], anomalies=anomalies, **taken)


@dataclass(frozen=True, eq=False)
class ErrorEstimate(Record):
    """Factor of the error variance of one kind of observations, with what it is estimated from.

    Attributes
    ----------
    factor : float
        rho.
    sums : (term,) array
        Of cross / r, beta^2 v / r, d^2 / r, v / r and 1, fading.
    histogram : (bin,) array
        Of log q, fading.
    """

    factor: float
    sums: np.ndarray
    histogram: np.ndarray

    def __repr__(self) -> str:
        return f"ErrorEstimate({self.factor:.3g})"

    @classmethod
    def initial(cls) -> ErrorEstimate:
        """1, from nothing."""
        return cls(1.0, np.zeros(SUMS), np.zeros(len(EDGES) - 1))

    def with_products(self, products: LaggedProducts, chosen: np.ndarray) -> ErrorEstimate:
        """With the pairs that are chosen."""
        last = products.last
        error, variance = to_numpy(last.error)[chosen], to_numpy(last.variance)[chosen]
        cross, memory = to_numpy(products.cross)[chosen], to_numpy(products.memory)[chosen]
        square, weight = to_numpy(last.innovation)[chosen] ** 2, to_numpy(products.weight)[chosen]
        weight = weight / (1 + variance / (self.factor * error)) ** 2
        terms = cross / error, memory * variance / error, square / error, variance / error, np.ones_like(error)
        sums = math.exp(-1 / PERSISTENCE) * self.sums + np.array([float((weight * term).sum()) for term in terms])
        count = sums[4]
        if not sums[1] > 0:
            return replace(self, sums=sums)
        raw = (sums[2] - max(sums[0] / sums[1], 0.0) * sums[3]) / count
        return replace(self, factor=_held(raw, 3 / count, MAX_FACTOR), sums=sums)

    def with_innovations(self, square: np.ndarray, variance: np.ndarray) -> ErrorEstimate:
        """With squared innovations and prior variances over the error variance as told, through a pointwise sensor."""
        clear = variance < 0.3 * self.factor
        q = square[clear] / (1 + variance[clear] / self.factor)
        logs = np.clip(np.log(np.maximum(q, 1e-300)), EDGES[0], EDGES[-1])
        histogram = math.exp(-1 / PERSISTENCE) * self.histogram + np.histogram(logs, EDGES)[0]
        count = float(histogram.sum())
        if count < 1:
            return replace(self, histogram=histogram)
        below = np.concatenate([[0.0], np.cumsum(histogram)])
        raw = math.exp(np.interp(0.5 * count, below, EDGES)) / MEDIAN
        return replace(self, factor=_held(raw, 11 / count, MAX_FACTOR_POINTWISE), histogram=histogram)


def _held(raw: float, doubt: float, bound: float) -> float:
    """Factor shrunk towards 1, with a dead zone of two standard deviations; what is far beyond three is believed."""
    prior = max(PRIOR, (raw - 1) ** 2 - 9 * doubt)
    change = (raw - 1) * prior / (prior + doubt)
    beyond = math.copysign(max(abs(change) - 2 * math.sqrt(doubt), 0.0), change)
    return min(max(1 + beyond, MIN_FACTOR), bound)
