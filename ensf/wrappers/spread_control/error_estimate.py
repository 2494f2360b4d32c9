r"""The factor rho of the error variance R of one kind of observations.

From the products of two cycles (`ensf.wrappers.spread_control.lagged`), prior variance P = lambda v,

    rho = (sum w d_t^2 / r - lambda sum w v_t / r) / sum w,      w = 1 / (1 + v_t / (rho r))^2

with the weights w in lambda too: where the forecast is known well, R is. Errors that are correlated in time, or of the
forecast that persist, make it too small: where there is evidence of either, it is 1 at least.

Before that is known there are the signs of successive innovations, and several observations of one place in a cycle
(`ensf.wrappers.spread_control.error_evidence`); both tell of errors that are larger than they were told.

Through a pointwise sensor rho comes from the median of d^2 / (r + v / rho) where v < .3 rho r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Record, to_numpy
from ensf.wrappers.spread_control.error_evidence import FADING, Alternation, Repetition, TimeCorrelation, held
from ensf.wrappers.spread_control.lagged import LaggedProducts
from ensf.wrappers.spread_control.pairs import Pairs

__all__ = ["ErrorEstimate"]

MIN_FACTOR_POINTWISE, MAX_FACTOR_POINTWISE = 0.5, 8.0
"""Where one cycle alone cannot tell a wrong R from a lost filter."""
ENOUGH = 100
"""Pairs, counted with their weights, that know more than the sign of innovations."""
SUSPICIOUS, CLEAR = 2.0, 3.0
"""Standard deviations of what one cycle tells: enough before there are such pairs, and against them."""
FALL = 0.97
"""Of the factor in a cycle, where there are no products of two cycles and nothing else holds it."""
EDGES = np.linspace(-9.0, 7.0, 81)
"""Of the histogram of log q."""
MEDIAN = 0.455
"""Of the square of a standard normal variate."""


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
    repetition : Repetition
    correlation : TimeCorrelation
    """

    factor: float = 1.0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(5))
    histogram: np.ndarray = field(default_factory=lambda: np.zeros(len(EDGES) - 1))
    alternation: Alternation = field(default_factory=Alternation)
    repetition: Repetition = field(default_factory=Repetition)
    correlation: TimeCorrelation = field(default_factory=TimeCorrelation)

    def __repr__(self) -> str:
        return f"ErrorEstimate({self.factor:.3g})"

    @property
    def enough(self) -> float:
        """Standard deviations from which on what one cycle tells is believed."""
        return SUSPICIOUS if self.sums[4] < ENOUGH else CLEAR

    def with_pairs(self, pairs: Pairs) -> ErrorEstimate:
        """With pairs of its kind; products without weight have signs only.

        What signs, or several observations of a place, told holds until enough products are known well, as long as the
        same sums do not contradict it; and must not be contradicted by them later.
        """
        new = replace(self, alternation=self.alternation.with_pairs(pairs))
        if pairs.repeated is not None:
            new = replace(new, repetition=self.repetition.with_pairs(pairs.repeated))
        if pairs.products is not None:
            correlation = self.correlation.with_products(pairs.products)
            new = replace(new, sums=self._sums_with(pairs.products), correlation=correlation)
        sums, factor = new.sums, max(min(self.factor, 1.0), FALL * self.factor)
        if sums[1] > 0:
            factor = held((sums[2] - max(sums[0] / sums[1], 0.0) * sums[3]) / sums[4], 3 / sums[4])
            if factor < 1:
                factor += new.correlation.any * (1 - factor)
        for evidence in (new.alternation, new.repetition):
            if evidence.deviations > new.enough:
                factor = max(factor, evidence.factor)
            elif new.enough == SUSPICIOUS:
                factor = max(factor, min(self.factor, evidence.factor))
        return replace(new, factor=factor)

    def _sums_with(self, products: LaggedProducts) -> np.ndarray:
        last = products.last
        error, variance, square = (to_numpy(part) for part in (last.error, last.variance, last.innovation**2))
        weight = to_numpy(products.weight) / (1 + variance / (self.factor * error)) ** 2
        terms = np.stack([to_numpy(products.cross), to_numpy(products.memory) * variance, square, variance, error])
        return FADING * self.sums + (weight * terms / error).sum(axis=1)

    def with_innovations(self, square: np.ndarray, variance: np.ndarray) -> ErrorEstimate:
        """With squared innovations and prior variances over the error variance as told, through a pointwise sensor."""
        clear = variance < 0.3 * self.factor
        q = square[clear] / (1 + variance[clear] / self.factor)
        logs = np.clip(np.log(np.maximum(q, 1e-300)), EDGES[0], EDGES[-1])
        histogram = FADING * self.histogram + np.histogram(logs, EDGES)[0]
        count = float(histogram.sum())
        if count < 1:
            return replace(self, histogram=histogram)
        below = np.concatenate([[0.0], np.cumsum(histogram)])
        raw = math.exp(np.interp(0.5 * count, below, EDGES)) / MEDIAN
        factor = held(raw, 11 / count, MIN_FACTOR_POINTWISE, MAX_FACTOR_POINTWISE)
        return replace(self, factor=factor, histogram=histogram)
