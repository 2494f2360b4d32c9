"""Control of the spread, as wrappers: each holds a filter and is a filter.

With prior anomalies A, analysis anomalies A', spreads s and s' (standard deviation of each variable over members):

    ForecastInflation   A  <- factor A              before the analysis
    AnalysisInflation   A' <- factor A'             after it
    RTPS                A' <- A' (1 - strength + strength s / s')
    RTPP                A' <- (1 - strength) A' + strength A
    Rotation            A' <- Q A'                  Q random, orthogonal, Q 1 = 1
    SpreadReset         A' <- A' s_0 / s'           s_0 = spread of the very first prior

None but the first changes the mean. They compose from the inside out: ``ForecastInflation(Rotation(ETKF()), 1.02)``
inflates, analyses, then rotates. Without any observation there is no analysis to correct: the prior is returned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ensf.arrays import Array, Generator, namespace, normal, stream
from ensf.filters.base import Analysis, Filter, check_prior
from ensf.observations.observation import Observation

__all__ = ["RTPP", "RTPS", "AnalysisInflation", "ForecastInflation", "ResetMemory", "Rotation", "SpreadReset"]


@dataclass(frozen=True)
class ForecastInflation:
    """Prior anomalies are multiplied before the analysis.

    Parameters
    ----------
    filter : Filter
    factor : float
        Factor of the standard deviation, usually a little above 1.
    """

    filter: Filter
    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis of the inflated prior."""
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        mean, anomalies = _moments(prior)
        return self.filter.analyse(mean + self.factor * anomalies, observation, rng, memory)


class _Corrected:
    """A filter whose analysis is corrected afterwards by `_correct`."""

    filter: Filter

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis of the wrapped filter with corrected anomalies."""
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        analysis = self.filter.analyse(prior, observation, rng, memory)
        mean, anomalies = _moments(analysis.ensemble)
        return replace(analysis, ensemble=mean + self._correct(prior, anomalies, rng))

    def _correct(self, prior: Array, anomalies: Array, rng: Generator) -> Array:
        raise NotImplementedError


@dataclass(frozen=True)
class AnalysisInflation(_Corrected):
    """Analysis anomalies are multiplied after the analysis.

    Parameters
    ----------
    filter : Filter
    factor : float
        Factor of the standard deviation, usually a little above 1.
    """

    filter: Filter
    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def _correct(self, prior: Array, anomalies: Array, rng: Generator) -> Array:
        return self.factor * anomalies


@dataclass(frozen=True)
class RTPS(_Corrected):
    """Relaxation to prior spread.

    Source: Whitaker & Hamill (2012), MWR 140, 3078, eq. 2.

    Parameters
    ----------
    filter : Filter
    strength : float
        0 changes nothing, 1 restores the prior spread of every variable.
    """

    filter: Filter
    strength: float

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def _correct(self, prior: Array, anomalies: Array, rng: Generator) -> Array:
        wanted = _spread(_moments(prior)[1])
        return anomalies * (1 - self.strength + self.strength * _ratio(wanted, _spread(anomalies)))


@dataclass(frozen=True)
class RTPP(_Corrected):
    """Relaxation to prior perturbations, member by member.

    Source: Zhang, Snyder & Sun (2004), MWR 132, 1238, eq. 5.

    Parameters
    ----------
    filter : Filter
        One whose analysis member j comes from prior member j.
    strength : float
        0 changes nothing, 1 restores the prior anomalies.
    """

    filter: Filter
    strength: float

    def __post_init__(self) -> None:
        _check_strength(self.strength)

    def _correct(self, prior: Array, anomalies: Array, rng: Generator) -> Array:
        return (1 - self.strength) * anomalies + self.strength * _moments(prior)[1]


@dataclass(frozen=True)
class Rotation(_Corrected):
    """Random rotation of the analysis members that keeps their mean and covariance.

    One rotation serves all variables. Source: Sakov & Oke (2008), MWR 136, 1042, section 3.

    Parameters
    ----------
    filter : Filter
    """

    filter: Filter

    def _correct(self, prior: Array, anomalies: Array, rng: Generator) -> Array:
        return namespace(anomalies).matmul(_mean_preserving_rotation(anomalies, rng), anomalies)


@dataclass(frozen=True, eq=False)
class ResetMemory:
    """What `SpreadReset` carries from cycle to cycle: the first prior's spread and the wrapped filter's memory."""

    spread: Array
    inner: Any = None


@dataclass(frozen=True)
class SpreadReset:
    """The analysis spread of every variable is reset to the spread of the very first prior.

    As in the published surface quasi-geostrophic EnSF (Bao et al. 2025, MWR 153, 1155).

    Parameters
    ----------
    filter : Filter
    """

    filter: Filter

    def analyse(
        self, prior: Array, observation: Observation, rng: Generator, memory: ResetMemory | None = None
    ) -> Analysis:
        """Analysis of the wrapped filter with reset spread."""
        check_prior(prior, observation)
        memory = memory or ResetMemory(_spread(_moments(prior)[1]))
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        analysis = self.filter.analyse(prior, observation, rng, memory.inner)
        mean, anomalies = _moments(analysis.ensemble)
        ensemble = mean + anomalies * _ratio(memory.spread, _spread(anomalies))
        return replace(analysis, ensemble=ensemble, memory=replace(memory, inner=analysis.memory))


def _check_factor(factor: float) -> None:
    if not factor > 0:
        raise ValueError(f"inflation factor is {factor}: give a positive factor of the standard deviation")


def _check_strength(strength: float) -> None:
    if not strength >= 0:
        raise ValueError(f"relaxation strength is {strength}: give 0 (none) to 1 (back to the prior)")


def _moments(ensemble: Array) -> tuple[Array, Array]:
    mean = namespace(ensemble).mean(ensemble, axis=0)
    return mean, ensemble - mean


def _spread(anomalies: Array) -> Array:
    xp = namespace(anomalies)
    return xp.sqrt(xp.sum(anomalies * anomalies, axis=0) / (anomalies.shape[0] - 1))


def _ratio(wanted: Array, spread: Array) -> Array:
    """``wanted / spread``, and 1 where the members agree exactly."""
    xp = namespace(spread)
    positive = spread > 0
    one = xp.ones_like(spread)
    return xp.where(positive, wanted / xp.where(positive, spread, one), one)


def _mean_preserving_rotation(anomalies: Array, rng: Generator) -> Array:
    """Orthogonal matrix ``(member, member)`` that fixes the vector of ones, uniform (Haar) on its complement.

    It is ``1 1^T / J + B H B^T``: H uniform, B all columns but the first of the reflection that swaps the first
    axis and the vector of ones.
    """
    xp = namespace(anomalies)
    size = anomalies.shape[0]
    free, triangle = xp.linalg.qr(normal(stream(rng, anomalies), (size - 1, size - 1), anomalies))
    uniform = free * xp.sign(xp.linalg.diagonal(triangle))
    identity = xp.eye(size, dtype=anomalies.dtype, device=anomalies.device)
    normal_vector = identity[0, :] - 1 / math.sqrt(size)
    reflection = identity - normal_vector[:, None] * normal_vector / (1 - 1 / math.sqrt(size))
    basis = reflection[:, 1:]
    return 1 / size + xp.matmul(basis, xp.matmul(uniform, basis.T))
