"""Deferred analysis: a surprise that the observations could not repair is slept on.

With squared innovations d^2 and ensemble variances v, both over the error variance, of all observations k,

    chi^2 = sum d^2 / sum (v + 1)

is about 1. Far above, either the state has jumped out of the ensemble, or the observations show something that will be
gone in the next cycle: a transient that the model does not carry, a bias, a wrong unit. Who follows widens the ensemble
by what is lacking, ratio = sum (d^2 - 1) / sum v, and then the observations determine about

    sum_k s_k / (1 + s_k) / state variables,      s_k = ratio v_k,

of the state; the rest is lost if there was no jump. Where this part is small the forecast is kept, for a cycle. If the
next observations say the same, they are believed. The first analysis, without a memory, waits for nothing: there was
no cycle that the forecast should have been right in, and a single analysis has none to come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, Record, namespace
from ensf.filters.base import Analysis, Memory, Unchanged, Update, innovations
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate, Wrapper

__all__ = ["DeferredAnalysis", "DeferralMemory"]


@dataclass(frozen=True, eq=False)
class DeferralMemory(Record):
    """Cycles waited in a row, and the wrapped filter's memory."""

    waited: int = 0
    inner: Memory = None


@dataclass(frozen=True)
class DeferredAnalysis(Wrapper):
    """Wrapper: surprising observations are not used at once if they determine too little of the state.

    Parameters
    ----------
    filter : Filter
    chi2_limit : float
        chi^2 beyond which the observations of a cycle are a surprise.
    min_constraint : float
        Part of the state, 0 to 1, that they must determine to be followed at once.
    max_delay : int
        Most cycles in a row without an analysis.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    chi2_limit: float = 2.0
    min_constraint: float = 0.5
    max_delay: int = 1
    remembers: ClassVar[type | None] = DeferralMemory

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.chi2_limit > 1 or not 0 <= self.min_constraint <= 1 or self.max_delay < 0:
            raise ValueError(
                f"deferred analysis has chi2_limit {self.chi2_limit}, min_constraint {self.min_constraint}, max_delay "
                f"{self.max_delay}: give a limit above 1, a constraint from 0 to 1, and no negative number of cycles"
            )

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        if memory is not None and memory.waited < self.max_delay and self._waits(predicted, observation):
            return Unchanged(replace(memory, waited=memory.waited + 1), {"waited": 1.0})
        memory = memory or DeferralMemory()
        update = self._inner(predicted, observation, rng, memory.inner)
        return WrappedUpdate(DeferralMemory(0, update.memory), {**update.info, "waited": 0.0}, update=update)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        if (
            memory is not None
            and memory.waited < self.max_delay
            and self._waits(observation.predict(prior), observation)
        ):
            return Analysis(prior, replace(memory, waited=memory.waited + 1), {"waited": 1.0})
        memory = memory or DeferralMemory()
        analysis = self.filter.analyse(prior, observation, rng, memory.inner, positions)
        return replace(analysis, memory=DeferralMemory(0, analysis.memory), info={**analysis.info, "waited": 0.0})

    def _without_observations(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        memory = memory or DeferralMemory()
        inner = super()._without_observations(prior, observation, rng, memory.inner, positions).memory
        return Analysis(prior, replace(memory, inner=inner))

    def _waits(self, predicted: Array, observation: Observation) -> bool:
        xp = namespace(predicted)
        square, variance = innovations(predicted, observation)
        if not bool(xp.sum(square) > self.chi2_limit * xp.sum(variance + 1)):
            return False
        widened = variance * xp.sum(square - 1) / xp.sum(variance)
        size = observation.state_size or observation.size
        return bool(xp.sum(widened / (1 + widened)) < self.min_constraint * size)
