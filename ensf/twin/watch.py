"""Whether a filter has lost the truth, from its observations alone: innovations beside those of a climate.

With d = y - mean of h(x_j), v the variance of h(x_j) over the members, r that of the error and c the mean of y over
past cycles, all for Gaussian errors, and sums over the observations of a cycle, the cycle is astray if

    chi^2 = sum d^2 / r / sum (v / r + 1) > LIMIT      and      sum d^2 / r >= part sum (y - c)^2 / r,      part = 1/2:

the forecast is confident and knows little more than the climate; of two states that have nothing to do with each other
part is about 2. A filter is lost if for `CYCLES` cycles in a row more than half of the cycles lately were astray, and
the sums over all these cycles say the same with part = 1. So one that comes back in between, by itself or led by a
guard, is not lost, however far off it was; nor is one with too small a spread that follows the truth, nor one that has
widened to the climate: it knows nothing, but says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Record, to_numpy
from ensf.filters.base import innovations
from ensf.filters.lost import Lost
from ensf.observations.observation import Observation

__all__ = ["CYCLES", "LIMIT", "RECENT", "Watch"]

CYCLES = 100
"""On `lorenz96_abs_01` ensembles that had collapsed were astray for up to 80 in a row, and one then came back."""
RECENT = 10
LIMIT = 10.0


@dataclass(frozen=True, eq=False)
class Watch(Record):
    """What was seen so far of one network.

    Attributes
    ----------
    mean, count : (observation,) array
        Of past values of each observation.
    lately : float
        Fraction of cycles that were astray, forgetting over `RECENT` cycles: a number in [0, 1], so that one that was
        very far off is forgiven as soon as another.
    strained : int
        Number of cycles in a row with more than a half of them.
    sums : (3,) array
        Of d^2 / r, v / r + 1 and (y - c)^2 / r over these cycles.
    """

    mean: np.ndarray
    count: np.ndarray
    lately: float = 0.0
    strained: int = 0
    sums: np.ndarray = field(default_factory=lambda: np.zeros(3))

    @classmethod
    def begin(cls, observations: int) -> Watch:
        """Nothing so far."""
        return cls(np.zeros(observations), np.zeros(observations))

    def after(self, cycle: int, forecast: Array, observation: Observation) -> Watch:
        """With one cycle more, counted from 1.

        Raises
        ------
        Lost
            If the filter is.
        """
        observation = observation.with_gaussian_errors()
        if not observation.size:
            return self
        if observation.size != len(self.mean):
            return Watch.begin(observation.size).after(cycle, forecast, observation)
        value = to_numpy(observation.value)
        there = ~np.isnan(value)
        present = observation.present()
        if not present.size:
            return self
        square, variance = (to_numpy(part) for part in innovations(present.predict(forecast), present))
        error = to_numpy(present.law.standard_deviation(present.value))
        departure = (((value - self.mean)[there] / error) ** 2).sum()
        new = np.array([square.sum(), variance.sum() + variance.size, departure])
        lately = self.lately + (_astray(new, 0.5) - self.lately) / RECENT
        strained, sums = (self.strained + 1, self.sums + new) if lately > 0.5 else (0, np.zeros(3))
        if strained >= CYCLES and _astray(sums, 1.0):
            chi2 = float(sums[0] / sums[1])
            raise Lost(
                f"the filter has lost the truth in cycle {cycle}: for {CYCLES} cycles innovations were beyond what "
                f"spread and error explain (chi^2 {chi2:.3g}), and no smaller than departures from the mean of past "
                "observations",
                cycle,
                chi2,
            )
        count = self.count + there
        step = np.where(there, value - self.mean, 0.0) / np.maximum(count, 1)
        return Watch(self.mean + step, count, lately, strained, sums)


def _astray(sums: np.ndarray, part: float) -> bool:
    """Whether innovations are beyond what explains them, and no smaller than such a part of the climate's."""
    misfit, explained, climate = sums
    return bool(misfit > LIMIT * explained and misfit >= part * climate)
