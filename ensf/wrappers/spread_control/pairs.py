"""What each observation of a cycle is compared with: the last cycle, cycles before it, others of its place."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Record, centred, like, namespace, to_numpy
from ensf.wrappers.spread_control.lagged import LaggedProducts, LastCycle, Past
from ensf.wrappers.spread_control.sites import Sites

__all__ = ["Pairs", "Repeated", "Rested", "repeated", "rested"]


@dataclass(frozen=True, eq=False)
class Pairs(Record):
    """Of the observations of a cycle, or of one kind of them.

    Attributes
    ----------
    products : LaggedProducts, optional
        With the last cycle.
    rested : Rested, optional
        With cycles before it.
    repeated : Repeated, optional
        With others of the same place.
    """

    products: LaggedProducts | None = None
    rested: Rested | None = None
    repeated: Repeated | None = None

    def of(self, chosen: np.ndarray) -> Pairs:
        """Those of the observations that are chosen, ``(observation,)`` of bool."""
        return Pairs(
            self.products and self.products.restrict(chosen[self.products.index]),
            self.rested and self.rested.restrict(chosen[self.rested.index]),
            self.repeated and self.repeated.restrict(chosen[self.repeated.index]),
        )

    def numbered(self, number: np.ndarray) -> Pairs:
        """With the number of each observation, ``(observation,)``, among those of the whole cycle."""
        return Pairs(
            self.products and replace(self.products, index=number[self.products.index]),
            self.rested and replace(self.rested, index=number[self.rested.index]),
            self.repeated and replace(self.repeated, index=number[self.repeated.index]),
        )

    def weighted(self, factor: np.ndarray) -> Pairs:
        """With less weight of some products, ``(pair,)``."""
        return self if self.products is None else replace(self, products=self.products.weighted(factor))


@dataclass(frozen=True, eq=False)
class Rested(Record):
    """Observations of places that were not observed in the last cycle, but before.

    Attributes
    ----------
    index : (pair,) array of int
        Which observations of this cycle.
    innovation : (pair,) array
        d of this cycle.
    before, increment, error : (pair,) array
        d, delta and r of the cycle in which the place was observed.
    """

    index: np.ndarray
    innovation: np.ndarray
    before: np.ndarray
    increment: np.ndarray
    error: np.ndarray

    def restrict(self, chosen: np.ndarray) -> Rested:
        """The pairs that are chosen."""
        each = (self.index, self.innovation, self.before, self.increment, self.error)
        return Rested(*(values[chosen] for values in each))


def rested(sites: Sites, innovation: Array, last: LastCycle, past: tuple[Past, ...]) -> Rested:
    """Pairs with the latest cycle before the last, newest first, in which the same place was observed."""
    d, waiting = to_numpy(innovation), np.zeros(len(sites), dtype=bool)
    waiting[sites.same(last.sites)[2]] = True
    pairs = [np.zeros((5, 0))]
    for cycle in past if waiting.any() else ():
        now, then = sites.same(cycle.sites)[:2]
        now, then = now[waiting[now]], then[waiting[now]]
        waiting[now] = False
        pairs.append(np.stack([now, d[now], cycle.innovation[then], cycle.increment[then], cycle.error[then]]))
    index, *numbers = np.concatenate(pairs, axis=1)
    return Rested(index.astype(np.int64), *numbers)


@dataclass(frozen=True, eq=False)
class Repeated(Record):
    """Pairs of observations of one place in one cycle.

    Attributes
    ----------
    index : (pair,) array of int
        The first of each.
    ratio : (pair,) array
        (d_i^2 - d_i d_j v_i / v_ij) / r.
    weight : (pair,) array
        2 c^2 - 1, at least 0, with c the members' correlation.
    """

    index: np.ndarray
    ratio: np.ndarray
    weight: np.ndarray

    def restrict(self, chosen: np.ndarray) -> Repeated:
        """The pairs that are chosen."""
        return Repeated(self.index[chosen], self.ratio[chosen], self.weight[chosen])


def repeated(sites: Sites, innovation: Array, error: Array, forecast: Array) -> Repeated:
    """Those of this cycle.

    Parameters
    ----------
    sites : Sites
    innovation, error : (observation,) array
        Error variance as told.
    forecast : (member, observation) array
    """
    first, second = sites.repeated
    anomalies = centred(forecast)
    one, other = (to_numpy(namespace(anomalies).take(anomalies, like(i, anomalies), axis=1)) for i in (first, second))
    variance, covariance = (one * one).mean(axis=0), (one * other).mean(axis=0)
    alike = (covariance > 0) & (2 * covariance**2 > variance * (other * other).mean(axis=0))
    first, second, variance, covariance = first[alike], second[alike], variance[alike], covariance[alike]
    correlation2 = covariance**2 / (variance * (other * other).mean(axis=0)[alike])
    d, r = to_numpy(innovation), to_numpy(error)
    ratio = (d[first] ** 2 - d[first] * d[second] * variance / covariance) / r[first]
    return Repeated(first, ratio, 2 * correlation2 - 1)
