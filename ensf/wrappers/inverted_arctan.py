"""An arctangent sensor undone before the analysis: y = arctan(L x) + e becomes tan(y), an observation of L x.

Its error is then no longer that of y: ``(1 + tan(y)^2)`` times as large at first order, without limit where the sensor
saturates. The filter assumes one constant error instead, and y is held within its bounds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Generator, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import Analysis, Filter, Memory, check_filter, refuse_predictions
from ensf.filters.guarded import guarded
from ensf.observations.functions import arctan
from ensf.observations.observation import Observation

__all__ = ["InvertedArctan"]


@dataclass(frozen=True)
class InvertedArctan:
    """A filter that receives tan(y) for observations through an arctangent, and assumes a constant error.

    For filters that need linear observations, as in Bao et al. (2025, MWR 153, 1155). Observations through any other
    operator are handed on as they are.

    Parameters
    ----------
    filter : Filter
    error : float
        Standard deviation that the filter assumes, in the units of the state; it takes the place of the error law.
    bound : float
        Of ``tan(y)``, in the units of the state: y beyond ``arctan(bound)`` is moved there. Nearer to pi/2 the error of
        y is amplified without limit, and past it the sign changes.

    Raises
    ------
    ValueError
        If the error or the bound is not positive.
    """

    filter: Filter
    error: float = 1.0
    bound: float = 40.0

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__, parameters=True)
        if not (0 < self.error < math.inf and 0 < self.bound < math.inf):
            raise ValueError(f"error is {self.error} and bound {self.bound}: give positive numbers")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble ``(member, state)`` of the wrapped filter.

        Raises
        ------
        ValueError
            As the wrapped filter.
        """
        refuse_predictions(predicted, self)
        part = observation.part
        if part.function != arctan:
            return self.filter.analyse(prior, observation, rng, memory, positions)
        xp = namespace(observation.value)
        limit = math.atan(self.bound)
        value = xp.tan(xp.clip(observation.value, -limit, limit))
        linear = replace(observation, value=value, operator=part.linear, error=self.error)
        return self.filter.analyse(prior, linear, rng, memory, positions)
