"""Whether a filter has lost the truth, from its observations alone: innovations beside those of a climate.

With d = y - mean of h(x_j), v the variance of h(x_j) over the members, r that of the error and c the mean of y over
past cycles, all for Gaussian errors, and sums over observations and cycles that forget over `CYCLES` cycles, a filter
is lost if after as many

    chi^2 = sum d^2 / r / sum (v / r + 1) > LIMIT      and      sum d^2 / r >= sum (y - c)^2 / r:

the forecast is confident and knows no more than the climate. One with too small a spread that follows the truth is not
lost; one that has widened to the climate knows nothing, but says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array, Record, to_numpy
from ensf.filters.base import innovations
from ensf.filters.lost import Lost
from ensf.observations.observation import Observation

__all__ = ["CYCLES", "LIMIT", "Watch"]

CYCLES = 50
LIMIT = 10.0


@dataclass(frozen=True, eq=False)
class Watch(Record):
    """What was seen so far of one network.

    Attributes
    ----------
    mean, count : (observation,) array
        Of past values of each observation.
    cycles : int
        Number of past cycles.
    misfit, explained, climate : float
        Sums of d^2 / r, of v / r + 1 and of (y - c)^2 / r.
    """

    mean: np.ndarray
    count: np.ndarray
    cycles: int = 0
    misfit: float = 0.0
    explained: float = 0.0
    climate: float = 0.0

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
        if not observation.law.is_gaussian:
            return self
        if observation.size != len(self.mean):
            return Watch.begin(observation.size).after(cycle, forecast, observation)
        value = to_numpy(observation.value)
        there = ~np.isnan(value)
        present = observation.present()
        if not there.any():
            return self
        square, variance = (to_numpy(part) for part in innovations(present.predict(forecast), present))
        error = to_numpy(present.law.standard_deviation(present.value))
        kept, cycles = 1 - 1 / CYCLES, self.cycles + 1
        misfit = kept * self.misfit + float(square.sum())
        explained = kept * self.explained + float((variance + 1).sum())
        climate = kept * self.climate + float((((value - self.mean)[there] / error) ** 2).sum())
        if cycles >= CYCLES and misfit > LIMIT * explained and misfit >= climate:
            raise Lost(
                f"the filter has lost the truth in cycle {cycle}: over {CYCLES} cycles innovations were beyond what "
                f"spread and error explain (chi^2 {misfit / explained:.3g}), and no smaller than departures from the "
                "mean of past observations",
                cycle,
                misfit / explained,
            )
        count = self.count + there
        step = np.where(there, value - self.mean, 0.0) / np.maximum(count, 1)
        return Watch(self.mean + step, count, cycles, misfit, explained, climate)
