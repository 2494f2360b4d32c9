"""A guard against collapse, for every filter: it fires late, and leaves a filter that is locked alone.

With innovations d_k = (y_k - mean of h(x_j)) / error_k and ensemble variances v_k of h(x_j) / error_k,

    chi^2 = sum d^2 / sum (v + 1)

is about 1 if the spread explains the innovations. An ensemble that has collapsed, or is lost with a confident forecast,
stays far above. Where chi^2 was above `limit` for `cycles` cycles in a row, the prior is widened, before the analysis
and as long as that lasts, to what the innovations say,

    lambda^2 = sum (d^2 - 1) / sum v,

a part of it (`share`) as independent noise: what the members span may be wrong altogether. Else nothing is changed and
nothing is drawn, so that the guarded filter is the filter, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ensf.analysis import Analysis, Filter, check_predicted, check_prior
from ensf.arrays import Array, Generator, namespace, normal, stream
from ensf.observation import Observation

__all__ = ["CollapseGuard", "GuardMemory"]


@dataclass(frozen=True, eq=False)
class GuardMemory:
    """What the next cycle needs: cycles in a row with chi^2 above the limit, and the filter's own memory."""

    cycles: int = 0
    inner: Any = None


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
    share : float
        Part of the added variance that is independent noise.
    most : float
        Bound on lambda, a factor of the standard deviation, in one cycle.
    """

    filter: Filter
    limit: float = 5.0
    cycles: int = 3
    share: float = 0.5
    most: float = 10.0

    def __post_init__(self) -> None:
        rules = {
            "limit": (self.limit > 1, "a number above 1"),
            "cycles": (self.cycles >= 1, "1 or more"),
            "share": (0 <= self.share <= 1, "0 to 1"),
            "most": (self.most >= 1, "1 or more"),
        }
        for name, (kept, rule) in rules.items():
            if not kept:
                raise ValueError(f"{name} of the collapse guard is {getattr(self, name)}: give {rule}")

    def analyse(
        self, prior: Array, observation: Observation, rng: Generator, memory: GuardMemory | None = None
    ) -> Analysis:
        """Analysis of the prior, widened or not; `info` has the factor of the standard deviation as `guard`.

        Raises
        ------
        ValueError
            If the prior or the predicted observations do not fit.
        """
        check_prior(prior, observation)
        observation, memory = observation.present(prior.dtype), memory or GuardMemory()
        if observation.size == 0:
            return Analysis(prior, memory)
        chi2, ratio = _innovations(prior, observation)
        cycles = memory.cycles + 1 if chi2 > self.limit else 0
        factor = min(math.sqrt(ratio), self.most) if cycles >= self.cycles else 1.0
        if factor > 1:
            prior = self._widened(prior, factor, rng)
        analysis = self.filter.analyse(prior, observation, rng, memory.inner)
        info = {**analysis.info, "guard": factor}
        return Analysis(analysis.ensemble, GuardMemory(cycles, analysis.memory), info)

    def _widened(self, prior: Array, factor: float, rng: Generator) -> Array:
        xp, added = namespace(prior), factor**2 - 1
        mean, spread = xp.mean(prior, axis=0), xp.std(prior, axis=0, correction=1)
        noise = normal(stream(rng, prior), prior.shape, prior)
        noise = math.sqrt(self.share * added) * spread * (noise - xp.mean(noise, axis=0))
        return mean + math.sqrt(1 + (1 - self.share) * added) * (prior - mean) + noise


def _innovations(prior: Array, observation: Observation) -> tuple[float, float]:
    """chi^2 and lambda^2; infinite if the members agree but not with the observations."""
    xp = namespace(prior)
    predicted = observation.operator(prior)
    check_predicted(predicted, observation)
    error = observation.law.standard_deviation(observation.value)
    square = float(xp.sum(((observation.value - xp.mean(predicted, axis=0)) / error) ** 2))
    variance = float(xp.sum(xp.var(predicted, axis=0, correction=1) / error**2))
    lacking = max(square - observation.size, 0.0)
    return square / (variance + observation.size), lacking / variance if variance > 0 else math.inf
