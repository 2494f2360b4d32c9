r"""What observations say of their own error variance R, apart from how wrong the forecast is.

*Signs of successive innovations.* A filter that believes observations too much follows their errors, and the next
innovation has the other sign: with K = delta / d, d' the next innovation and P the prior variance,

    E[d d'] = beta (P - K (P + R))    and so    R = mean of d (d - delta) - d d' / beta,

with one beta of all pairs, that of their members, 1 at least, and only where sum d d' is below zero by more than
chance has: innovations that persist tell of a forecast that is wrong, and then nothing of R. It needs neither that
members keep what they had nor that no surprise is near. Places that rested for some cycles count with beta = 1.

*Several observations of one place in a cycle*, as in a window of several times. Between them nothing is analysed, so
that with v_ij the members' covariance of the two predictions

    E[d_i d_j] = P_i v_ij / v_i    and so    R = mean of d_i^2 - d_i d_j v_i / v_ij.

*Errors that are correlated in time.* With d_0, d_1, d_2 of three cycles of a place, if errors are white,

    E[c] = 0,    c = -d_0 (d_2 - beta (d_1 - delta_1)),

for any P, R and any error of the model that is white, for d_1 - delta_1 is what the analysis left. Errors with
correlation phi make it about phi (beta - phi) R > 0; errors of the forecast that persist make it negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Record, to_numpy
from ensf.wrappers.spread_control.lagged import LaggedProducts
from ensf.wrappers.spread_control.pairs import Pairs, Repeated

__all__ = ["FADING", "Alternation", "Repetition", "TimeCorrelation", "held"]

PERSISTENCE = 100
"""Cycles over which the factor of R is estimated."""
PRIOR = 0.25
"""Variance of the factor of R before there is evidence."""
MIN_FACTOR, MAX_FACTOR = 0.04, 1e6
MIN_PERSISTENCE = 0.5
"""beta of all pairs below which the sign of innovations tells nothing."""
FADING = math.exp(-1 / PERSISTENCE)


def held(raw: float, doubt: float, lowest: float = MIN_FACTOR, highest: float = MAX_FACTOR) -> float:
    """Factor shrunk towards 1, with a dead zone of two standard deviations; what is far beyond three is believed."""
    prior = max(PRIOR, (raw - 1) ** 2 - 9 * doubt)
    change = (raw - 1) * prior / (prior + doubt)
    beyond = math.copysign(max(abs(change) - 2 * math.sqrt(doubt), 0.0), change)
    return min(max(1 + beyond, lowest), highest)


@dataclass(frozen=True, eq=False)
class Alternation(Record):
    """What the signs of successive innovations of one kind say.

    Attributes
    ----------
    sums : (term,) array
        Of d d' / (beta r), its square, d (d - delta) / r and 1, fading.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(4))

    def with_pairs(self, pairs: Pairs) -> Alternation:
        """With all pairs of two cycles, near surprises too."""
        products, rested, terms = pairs.products, pairs.rested, [FADING * self.sums]
        if products is not None and products.persistence > MIN_PERSISTENCE:
            last, error = products.last, to_numpy(products.last.error)
            pair = to_numpy(products.innovation * last.innovation) / (max(products.persistence, 1.0) * error)
            left = to_numpy(last.innovation * (last.innovation - last.increment)) / error
            terms.append(_sums(pair, pair**2, left, np.ones_like(pair)))
        if rested is not None:
            pair = rested.innovation * rested.before / rested.error
            left = rested.before * (rested.before - rested.increment) / rested.error
            terms.append(_sums(pair, pair**2, left, np.ones_like(pair)))
        return Alternation(np.sum(terms, axis=0))

    @property
    def deviations(self) -> float:
        """How far the products are below zero, in standard deviations if signs are by chance."""
        return -float(self.sums[0] / math.sqrt(self.sums[1])) if self.sums[1] > 0 else 0.0

    @property
    def factor(self) -> float:
        """Of R."""
        count = self.sums[3]
        return held((self.sums[2] - self.sums[0]) / count, 3 / count) if count > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Repetition(Record):
    """What several observations of one place in a cycle say.

    Attributes
    ----------
    sums : (term,) array
        Of the ratios with their weights, the weights, and the squares of weight (ratio - 1), fading.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def with_pairs(self, pairs: Repeated) -> Repetition:
        """With those of a cycle."""
        weight, ratio = pairs.weight, pairs.ratio
        return Repetition(FADING * self.sums + _sums(weight * ratio, weight, (weight * (ratio - 1)) ** 2))

    @property
    def deviations(self) -> float:
        """How far the ratios are above 1, in standard deviations."""
        return float((self.sums[0] - self.sums[1]) / math.sqrt(self.sums[2])) if self.sums[2] > 0 else 0.0

    @property
    def factor(self) -> float:
        """Of R."""
        return held(self.sums[0] / self.sums[1], 3 / self.sums[1]) if self.sums[1] > 0 else 1.0


@dataclass(frozen=True, eq=False)
class TimeCorrelation(Record):
    """Whether errors of one kind are correlated in time.

    Attributes
    ----------
    sums : (term,) array
        Of c / r with the weights of the pairs, and of its square, fading.
    """

    sums: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def with_products(self, products: LaggedProducts) -> TimeCorrelation:
        """With the places that were observed in three cycles."""
        last = products.last
        known = ~np.isnan(products.earlier)
        left = to_numpy(products.innovation - products.beta * (last.innovation - last.increment))
        c = (-products.earlier * left * to_numpy(products.weight / last.error))[known]
        return TimeCorrelation(FADING * self.sums + _sums(c, c * c))

    @property
    def deviations(self) -> float:
        """How far c is above zero, in standard deviations if signs are by chance."""
        return float(self.sums[0] / math.sqrt(self.sums[1])) if self.sums[1] > 0 else 0.0

    @property
    def positive(self) -> float:
        """0 up to two standard deviations, 1 from four on."""
        return min(max(self.deviations / 2 - 1, 0.0), 1.0)

    @property
    def any(self) -> float:
        """The same for either sign."""
        return min(max(abs(self.deviations) / 2 - 1, 0.0), 1.0)


def _sums(*terms: np.ndarray) -> np.ndarray:
    return np.array([float(term.sum()) for term in terms])
