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

import math
from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Record, centred, like, member_mean, namespace, rows
from ensf.localization import Localization

__all__ = ["LaggedProducts", "LastCycle", "Sites", "lagged_products"]

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
    innovation : (pair,) array
        d of this cycle.
    cross, memory : (pair,) array
        cross and beta^2.
    weight : (pair,) array
        0 to 1: how much of what a place had is still there.
    covariance, analysed : (pair,) array
        Of members before and after the model, and their variance before it.
    """

    index: np.ndarray
    last: LastCycle
    innovation: Array
    cross: Array
    memory: Array
    weight: Array
    covariance: Array
    analysed: Array

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
        names = "innovation", "cross", "memory", "weight", "covariance", "analysed"
        taken = {name: rows(getattr(self, name), index) for name in names}
        return replace(self, index=self.index[index], last=_restricted(self.last, index), **taken)

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
    innovation = rows(innovation, now)
    cross = beta * (innovation + beta * last.increment) * last.innovation
    return LaggedProducts(now, last, innovation, cross, beta * beta, weight, covariance, before)


def _restricted(last: LastCycle, index: np.ndarray) -> LastCycle:
    if len(index) == len(last.sites) and (index == np.arange(len(index))).all():
        return last
    taken = {name: rows(getattr(last, name), index) for name in ("innovation", "increment", "variance", "error")}
    anomalies = namespace(last.anomalies).take(last.anomalies, like(index, last.anomalies), axis=1)
    return replace(last, sites=last.sites.rows(index), surprised=last.surprised[index], anomalies=anomalies, **taken)
