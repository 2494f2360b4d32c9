r"""The factor rho of the error variance R of one kind of observations.

From the products of two cycles (`ensf.wrappers.spread_control.lagged`), prior variance P = lambda v,

    rho = (sum w d_t^2 / r - lambda sum w v_t / r) / sum w,      w = 1 / (1 + v_t / (rho r))^2

with the weights w in lambda too: where the forecast is known well, R is.

Before that is known there is the sign of successive innovations. A filter that believes observations too much follows
their errors, and the next innovation has the other sign: with K = delta / d and d' the next innovation,

    E[d d'] = beta (P - K (P + rho r))    and so    rho = sum (d (d - delta) - d d' / beta) / sum r,

with one beta of all pairs, that of their members, 1 at least, and only where sum d d' is below zero by more
than chance has: innovations that persist tell of a forecast that is wrong, and then nothing of R. It needs neither
that members keep what they had nor that no surprise is near.

Through a pointwise sensor rho comes from the median of d^2 / (r + v / rho) where v < .3 rho r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Record, to_numpy
from ensf.wrappers.spread_control.lagged import LaggedProducts

__all__ = ["Alternation", "ErrorEstimate"]

PERSISTENCE = 100
"""Cycles over which the factor of R is estimated."""
PRIOR = 0.25
"""Variance of the factor of R before there is evidence."""
MIN_FACTOR, MAX_FACTOR = 0.5, 1e6
MAX_FACTOR_POINTWISE = 8.0
"""Where one cycle alone cannot tell a wrong R from a lost filter."""
SUMS, ALTERNATION_SUMS = 5, 4
ENOUGH = 100
"""Pairs, counted with their weights, that know more than the sign of innovations."""
SUSPICIOUS, CLEAR = 2.0, 3.0
"""Standard deviations by which innovations alternate: enough before there are such pairs, and against them."""
MIN_PERSISTENCE = 0.5
"""beta of all pairs below which the sign of innovations tells nothing."""
EDGES = np.linspace(-9.0, 7.0, 81)
"""Of the histogram of log q."""
MEDIAN = 0.455
"""Of the square of a standard normal variate."""


@dataclass(frozen=True, eq=False)
class Alternation(Record):
    """What the signs of successive innovations of one kind say.

    Attributes
    ----------
    sums : (term,) array
        Of d d' / (beta r), its square, d (d - delta) / r and 1, fading.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(ALTERNATION_SUMS))

    def with_products(self, products: LaggedProducts) -> Alternation:
        """With all pairs, near surprises too."""
        terms = np.zeros((ALTERNATION_SUMS, 1))
        if products.persistence > MIN_PERSISTENCE:
            last, error = products.last, to_numpy(products.last.error)
            pair = to_numpy(products.innovation * last.innovation) / (max(products.persistence, 1.0) * error)
            left = to_numpy(last.innovation * (last.innovation - last.increment)) / error
            terms = np.stack([pair, pair**2, left, np.ones_like(pair)])
        return Alternation(math.exp(-1 / PERSISTENCE) * self.sums + terms.sum(axis=1))

    @property
    def deviations(self) -> float:
        """How far the products are below zero, in standard deviations if signs are by chance."""
        return -float(self.sums[0] / math.sqrt(self.sums[1])) if self.sums[1] > 0 else 0.0

    @property
    def factor(self) -> float:
        """rho."""
        count = self.sums[3]
        return _held((self.sums[2] - self.sums[0]) / count, 3 / count, MAX_FACTOR) if count > 0 else 1.0


@dataclass(frozen=True, eq=False)
class ErrorEstimate(Record):
    """Factor of the error variance of one kind of observations, with what it is estimated from.

    Attributes
    ----------
    factor : float
        rho.
    sums : (term,) array
        Of cross / r, beta^2 v / r, d^2 / r, v / r and 1, with weights, fading.
    histogram : (bin,) array
        Of log q, fading.
    alternation : Alternation
    """

    factor: float = 1.0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(SUMS))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    alternation: Alternation = field(default_factory=Alternation)

    def __repr__(self) -> str:
        return f"ErrorEstimate({self.factor:.3g})"

    def with_products(self, products: LaggedProducts, trusted: np.ndarray) -> ErrorEstimate:
        """With pairs of its kind; only those that are trusted count for lambda and rho.

        What the sign of innovations told holds until enough pairs are known well, and must not be contradicted by the
        same sums later.
        """
        alternation, sums = self.alternation.with_products(products), self._sums_with(products, trusted)
        factor = self.factor
        if sums[1] > 0:
            raw = (sums[2] - max(sums[0] / sums[1], 0.0) * sums[3]) / sums[4]
            factor = _held(raw, 3 / sums[4], MAX_FACTOR)
        if alternation.deviations > (SUSPICIOUS if sums[4] < ENOUGH else CLEAR):
            factor = max(factor, alternation.factor)
        elif sums[4] < ENOUGH:
            factor = max(factor, min(self.factor, alternation.factor))
        return replace(self, factor=factor, sums=sums, alternation=alternation)

    def _sums_with(self, products: LaggedProducts, trusted: np.ndarray) -> np.ndarray:
        last = products.last
        error, variance, square = (to_numpy(part) for part in (last.error, last.variance, last.innovation**2))
        weight = trusted * to_numpy(products.weight) / (1 + variance / (self.factor * error)) ** 2
        terms = np.stack([to_numpy(products.cross), to_numpy(products.memory) * variance, square, variance, error])
        return math.exp(-1 / PERSISTENCE) * self.sums + (weight * terms / error).sum(axis=1)

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
