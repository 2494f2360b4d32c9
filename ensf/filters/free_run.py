"""No analysis: what a free ensemble knows, the reference that a filter has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ensf.arrays import Array, Generator
from ensf.filters.base import Analysis, check_predicted, check_prior
from ensf.observations.observation import Observation

__all__ = ["FreeRun"]


@dataclass(frozen=True)
class FreeRun:
    """The analysis is the prior, whatever was observed: a free run where there is a model, else climatology."""

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """The prior ``(member, state)`` itself, and the memory.

        Raises
        ------
        ValueError
            If the prior or the predicted observations do not fit, as with any filter.
        """
        check_prior(prior, observation)
        check_predicted(observation.operator(prior), observation)
        return Analysis(prior, memory)
