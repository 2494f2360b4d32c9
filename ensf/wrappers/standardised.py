"""A filter that sees the ensemble standardised by its own mean and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ensf.arrays import Array, Generator, namespace
from ensf.filters.base import Analysis, Filter, check_prior
from ensf.observations.observation import Observation
from ensf.observations import 

__all__ = ["Standardised"]


@dataclass(frozen=True)
class Standardised:
    """Wrapper: the filter works on the ensemble standardised by its own mean and standard deviation.

    Parameters
    ----------
    filter : Filter
    """

    filter: Filter

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble, back in the units of the prior."""
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        xp = namespace(prior)
        mean, deviation = xp.mean(prior, axis=0), xp.std(prior, axis=0, correction=1)
        deviation = xp.where(deviation > 0, deviation, xp.ones_like(deviation))
        seen = replace(observation, operator=_Rescaled(observation.operator, mean, deviation))
        inner = self.filter.analyse((prior - mean) / deviation, seen, rng, memory)
        return replace(inner, ensemble=mean + deviation * inner.ensemble)


@dataclass(frozen=True, eq=False)
class _Rescaled:
    """The operator of standardised states."""

    operator: Any
    mean: Array
    deviation: Array

    def __call__(self, states: Array) -> Array:
        return self.operator(self.mean + self.deviation * states)

    def tangent(self, states: Array, directions: Array) -> Array:
        return tangent(self.operator, self.mean + self.deviation * states, self.deviation * directions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        return self.deviation * self.operator.adjoint(self.mean + self.deviation * states, residuals)
