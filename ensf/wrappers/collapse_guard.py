"""A guard against collapse, for every filter: it fires late, and leaves a filter that is locked alone.

With innovations d_k = (y_k - mean of h(x_j)) / error_k and ensemble variances v_k of h(x_j) / error_k,

    chi^2 = sum d^2 / sum (v + 1)

is about 1 if the spread explains the innovations. An ensemble that has collapsed, or is lost with a confident forecast,
stays far above. Where chi^2 was above `limit` for `cycles` cycles in a row, the prior variance s^2 of each variable is
widened, before the analysis and as long as that lasts, to what the innovations say,

    min(lambda^2 s^2, max_spread^2 c^2),        lambda^2 = sum (d^2 - 1) / sum v,

by independent noise, for what the members span may be wrong altogether. c^2 is the variance of the variable over
members and past cycles: where the operator saturates, lambda is unbounded. What the spread then does not explain is
put down to the observations: their log density is multiplied by a weight such that chi^2 is 1, or a gain fitted to
saturated members throws the analysis off. Else nothing is changed and nothing is drawn: the guarded filter is the
filter, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    centred,
    generator,
    is_count,
    mean_departure,
    member_variance,
    namespace,
    normal,
    stream,
)
from ensf.arrays.settings import check_settings
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Part,
    check_filter,
    innovations,
    refuse_predictions,
    usable,
    with_values,
)
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation

__all__ = ["CollapseGuard", "GuardMemory"]

TINY = 1e-12


@dataclass(frozen=True, eq=False)
class GuardMemory(Record):
    """What the next cycle needs.

    Attributes
    ----------
    mean, square : (state,) array
        Mean over members and past cycles, and sum over cycles of the mean squared distance from it.
    past_cycles : int
        Number of past cycles.
    strained : int
        Cycles in a row with chi^2 above the limit.
    inner : object
        The filter's own memory.
    """

    mean: Array
    square: Array
    past_cycles: int = 0
    strained: int = 0
    inner: Memory = None

    def with_prior(self, prior: Array) -> GuardMemory:
        """One cycle more (Chan, Golub & LeVeque 1983, Am. Stat. 37, 242)."""
        xp = namespace(prior)
        cycles = self.past_cycles + 1
        step = -mean_departure(self.mean, prior)
        square = self.square + xp.var(centred(prior), axis=0) + step**2 * (self.past_cycles / cycles)
        return replace(self, mean=self.mean + step / cycles, square=square, past_cycles=cycles)

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Members and state variables that it is of."""
        return None, self.mean.shape[0]


@dataclass(frozen=True)
class CollapseGuard:
    """Wrapper: a prior that has not explained its innovations for some cycles is widened until it does.

    Parameters
    ----------
    filter : Filter
    limit : float
        chi^2 of innovations beyond which a cycle counts; above 1.
    cycles : int
        Number of such cycles in a row before the guard acts.
    max_spread : float
        Bound on the widened spread of a variable, in units of its standard deviation over members and past cycles.
    """

    filter: Filter
    limit: float = 5.0
    cycles: int = 2
    max_spread: float = 1.0
    remembers: ClassVar[type | None] = GuardMemory

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        rules = {
            "limit": (self.limit > 1, "a number above 1"),
            "cycles": (is_count(self.cycles), "a whole number, 1 or more"),
            "max_spread": (self.max_spread > 0, "a positive number"),
        }
        for name, (kept, rule) in rules.items():
            if not kept:
                raise ValueError(f"{name} of the collapse guard is {getattr(self, name)}: give {rule}")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: GuardMemory | None = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis of the prior, widened or not; `info` has 1 as `guard` if the guard acted, else 0.

        Raises
        ------
        ValueError
            If the prior or the predicted observations do not fit.
        """
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        rng = generator(rng)
        zeros = prior[0, :] * 0
        memory = memory or GuardMemory(zeros, zeros)
        if observation.size == 0:
            inner = self.filter.analyse(prior, observation, rng, memory.inner, positions).memory
            return Analysis(prior, replace(memory, inner=inner))
        observation.check_resolved(observation.predict(prior))
        memory = memory.with_prior(prior)
        square, variance = _mean_innovations(prior, observation)
        strained = memory.strained + 1 if square > self.limit * (variance + 1) else 0
        acts = strained >= self.cycles
        if acts:
            prior = self._widened(prior, (square - 1) / max(variance, TINY), memory.square / memory.past_cycles, rng)
            observation = _doubted(prior, observation)
        analysis = self.filter.analyse(prior, observation, rng, memory.inner, positions)
        memory = replace(memory, strained=strained, inner=analysis.memory)

        def before(part: Part) -> Array:
            return analysis.before(with_values(part, prior[:, part.entries]) if acts else part)

        return Analysis(analysis.ensemble, memory, {**analysis.info, "guard": float(acts)}, before=before)

    def _widened(self, prior: Array, ratio: float, climate: Array, rng: Generator) -> Array:
        xp = namespace(prior)
        variance = member_variance(prior)
        added = xp.clip(
            xp.minimum(ratio * (variance + TINY * climate), self.max_spread**2 * climate) - variance, 0.0, None
        )
        noise = normal(stream(rng, prior), prior.shape, prior)
        return prior + xp.sqrt(added) * (noise - xp.mean(noise, axis=0))


def _mean_innovations(prior: Array, observation: Observation) -> tuple[float, float]:
    """Mean of d^2 and of v over observations."""
    square, variance = innovations(observation.predict(prior), observation)
    return float(namespace(prior).mean(square)), float(namespace(prior).mean(variance))


def _doubted(prior: Array, observation: Observation) -> Observation:
    """The observations with so much less precision that chi^2 is 1."""
    square, variance = _mean_innovations(prior, observation)
    return replace(observation, error=observation.law.tempered(1 / max(square - variance, 1.0)))
