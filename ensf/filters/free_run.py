"""No analysis: what a free ensemble knows, the reference that a filter has to beat."""

from __future__ import annotations

from dataclasses import dataclass

from ensf.arrays import Array, Generator
from ensf.filters.base import Memory, Prepared, Unchanged, Update
from ensf.observations.observation import Observation

__all__ = ["FreeRun"]


@dataclass(frozen=True)
class FreeRun(Prepared):
    """The analysis is the prior, whatever was observed: a free run where there is a model, else climatology."""

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Nothing is changed."""
        return Unchanged(memory)
