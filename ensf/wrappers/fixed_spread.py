"""The spread of every analysis is a stated one, the same for all variables: A' <- A' deviation / s'."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ensf.arrays import Array, Generator, namespace
from ensf.filters.base import Analysis, Filter, check_prior
from ensf.observations.observation import Observation

__all__ = ["FixedSpread"]

ROUNDING = 16.0
"""Members that agree to so many units of rounding have no spread that could be scaled."""


@dataclass(frozen=True)
class FixedSpread:
    """The analysis spread of every variable is set to one standard deviation; the mean is not changed.

    As in the published code for surface quasi-geostrophic turbulence (Bao et al. 2025, MWR 153, 1155). Variables on
    which the analysis members agree to rounding stay as they are: they have no anomalies to scale.

    Parameters
    ----------
    filter : Filter
    deviation : float
        Standard deviation with divisor J - 1, in the units of the state.

    Raises
    ------
    ValueError
        If the deviation is not positive.
    """

    filter: Filter
    deviation: float

    def __post_init__(self) -> None:
        if not 0 < self.deviation < float("inf"):
            raise ValueError(f"spread is to be {self.deviation}: give a positive standard deviation")

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)`` of the wrapped filter with the stated spread.

        Raises
        ------
        ValueError
            As the wrapped filter.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        analysis = self.filter.analyse(prior, observation, rng, memory)
        xp, ensemble = namespace(prior), analysis.ensemble
        mean, spread = xp.mean(ensemble, axis=0), xp.std(ensemble, axis=0, correction=1)
        rounding = ROUNDING * xp.finfo(ensemble.dtype).eps * xp.max(xp.abs(ensemble), axis=0)
        scaled = spread > rounding
        factor = self.deviation / xp.where(scaled, spread, xp.ones_like(spread))
        return replace(analysis, ensemble=xp.where(scaled, mean + (ensemble - mean) * factor, ensemble))
