r"""What two cycles in a row say of the prior variance, apart from the error variance.

The innovations d_t of one cycle give lambda v + rho r alone: a wrong prior looks like a wrong R. Those of the next
cycle at the same places tell them apart (Mehra 1970; Berry & Sauer 2013): with increments delta, prior variance
P = lambda v, and the same members before and after the model,

    E[d_(t+1) d_t] = beta (P - delta_t d_t),       beta_k = cov_j(H x_j(t+1), H x_j(t)) / var_j(H x_j(t)),
    cross_k = beta (d_(t+1) + beta delta_t) d_t,   lambda = sum cross / sum beta^2 v_t.

delta is what the filter did, whatever it believed: the estimate does not feed itself. If the prior variance or R is
wrong by a factor, the covariance of the analysis error with d is proportional to the analysis covariance, so the same
holds for observations of two places, with beta between them: where the network moves, an observation is compared with
the nearest one of its kind in the cycle before (`Sites.partners`). For linear operators and Gaussian laws, and as long
as a place keeps what it had: with c the correlation of members before and after the model, a pair counts as 2 c^2 - 1,
and not at all where windows are long and fields move on (there lambda comes out too small).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Record, centred, like, member_mean, namespace, rows, to_numpy
from ensf.localization import Localization
from ensf.wrappers.spread_control.sites import Sites

__all__ = ["PAST", "LaggedProducts", "LastCycle", "Past", "lagged_products"]

PAST = 4
"""Cycles before the last one that are remembered, newest first."""


@dataclass(frozen=True, eq=False)
class LastCycle(Record):
    """What the cycle before leaves at its linear observations with Gaussian errors.

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

    def rows(self, index: np.ndarray) -> LastCycle:
        """Some of the observations."""
        if len(index) == len(self.sites) and (index == np.arange(len(index))).all():
            return self
        taken = {name: rows(getattr(self, name), index) for name in ("innovation", "increment", "variance", "error")}
        anomalies = namespace(self.anomalies).take(self.anomalies, like(index, self.anomalies), axis=1)
        sites, surprised = self.sites.rows(index), self.surprised[index]
        return replace(self, sites=sites, surprised=surprised, anomalies=anomalies, **taken)


@dataclass(frozen=True, eq=False)
class Past(Record):
    """What is kept of a cycle that is no longer the last one: nothing of its members, who are others by then.

    Attributes
    ----------
    sites : Sites
    innovation, increment, error : (observation,) array
        As of `LastCycle`.
    """

    sites: Sites
    innovation: np.ndarray
    increment: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, last: LastCycle) -> Past:
        """The last cycle, when there is another."""
        return cls(last.sites, *(to_numpy(each) for each in (last.innovation, last.increment, last.error)))


@dataclass(frozen=True, eq=False)
class LaggedProducts(Record):
    """Of the observations that have a partner in the cycle before.

    Attributes
    ----------
    index : (pair,) array of int
        Which observations of this cycle.
    last : LastCycle
        Those of the cycle before.
    innovation : (pair,) array
        d of this cycle.
    beta, cross : (pair,) array
    weight : (pair,) array
        0 to 1: how much of what a place had is still there.
    covariance, analysed : (pair,) array
        Of members before and after the model, and their variance before it.
    earlier : (pair,) array
        d of the same place in the cycle before the last; nan without it.
    """

    index: np.ndarray
    last: LastCycle
    innovation: Array
    beta: Array
    cross: Array
    weight: Array
    covariance: Array
    analysed: Array
    earlier: np.ndarray

    @property
    def memory(self) -> Array:
        """beta^2."""
        return self.beta * self.beta

    @property
    def persistence(self) -> float:
        """beta of all pairs together, 0 where members do not differ."""
        covariance, analysed = (float(namespace(part).sum(part)) for part in (self.covariance, self.analysed))
        return covariance / analysed if analysed > 0 else 0.0

    def restrict(self, chosen: np.ndarray) -> LaggedProducts:
        """The pairs that are chosen."""
        if chosen.all():
            return self
        index = np.flatnonzero(chosen)
        names = "innovation", "beta", "cross", "weight", "covariance", "analysed", "earlier"
        taken = {name: rows(getattr(self, name), index) for name in names}
        return replace(self, index=self.index[index], last=self.last.rows(index), **taken)

    def weighted(self, factor: np.ndarray) -> LaggedProducts:
        """With less weight of some pairs, ``(pair,)``."""
        return replace(self, weight=self.weight * like(np.asarray(factor, dtype=np.float64), self.weight))

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
    last: LastCycle,
    past: tuple[Past, ...],
    sites: Sites,
    localization: Localization,
    innovation: Array,
    forecast: Array,
) -> LaggedProducts | None:
    """Products of this cycle with the last one; None if no observation has a partner, or with other members.

    Parameters
    ----------
    last : LastCycle
    past : tuple of Past
        Cycles before it.
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
    last = last.rows(then)
    earlier = np.full(len(sites), np.nan)
    if past:
        again, there, *_ = sites.same(past[0].sites)
        earlier[again] = past[0].innovation[there]
    earlier = np.where(last.sites.is_at(sites.rows(now)), earlier[now], np.nan)
    forecast = namespace(forecast).take(forecast, like(now, forecast), axis=1)
    anomalies = centred(forecast)
    xp = namespace(anomalies)
    before, after = member_mean(last.anomalies**2), member_mean(anomalies**2)
    covariance = member_mean(anomalies * last.anomalies)
    beta = covariance / xp.where(before > 0, before, xp.ones_like(before))
    correlation2 = beta * covariance / xp.where(after > 0, after, xp.ones_like(after))
    weight = xp.clip(2 * correlation2 - 1, 0.0, 1.0)
    innovation = rows(innovation, now)
    cross = beta * (innovation + beta * last.increment) * last.innovation
    return LaggedProducts(now, last, innovation, beta, cross, weight, covariance, before, earlier)
