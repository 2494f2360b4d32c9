"""Filters that treat members one by one: no covariance between variables is estimated.

Particle filter     weights w_j ~ p(y | x_j); members are drawn again in proportion to them
Fixed-gain MAP      each member minimises  |x - x_j|^2 / (2 deviation^2) + |y_j - h(x)|^2 / (2 error^2),
                    variable by variable, with its own perturbed observation y_j

The first is exact for very many members and useless in high dimension; the second is a baseline that any filter
with an ensemble ought to beat, as the spread of the prior plays no part in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ensf.arrays import Array, Generator, namespace, normal, stream
from ensf.filters.base import Analysis
from ensf.observations import Gaussian, Identity, Observation, Pointwise, Select

__all__ = ["FixedGainMAP", "ParticleFilter"]


@dataclass(frozen=True)
class ParticleFilter:
    """Bootstrap particle filter with systematic resampling, for a few variables.

    Source: Gordon, Salmond & Smith (1993), IEE Proc. F 140, 107; systematic resampling: Kitagawa (1996), J.
    Comput. Graph. Stat. 5, 1; regularisation: Musso, Oudjane & Le Gland (2001), in Sequential Monte Carlo
    Methods in Practice, section 12.2.

    Parameters
    ----------
    jitter : float
        Standard deviation of the noise added after resampling, as a fraction of the weighted ensemble's; the
        noise has the ensemble's correlations. Without it, copies stay equal under a model without noise.
    """

    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not self.jitter >= 0:
            raise ValueError(f"jitter is {self.jitter}: give 0 or a positive fraction of the spread")

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``; `info` has the effective sample size ``1 / sum w^2``.

        Raises
        ------
        ValueError
            If the prior does not fit, or no member has a positive likelihood.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        predicted = observation.operator(prior)
        check_predicted(predicted, observation)
        xp = namespace(prior)
        log_likelihood = observation.law.log_density(observation.value, predicted)
        weights = _weights(xp.astype(log_likelihood, prior.dtype, copy=False))
        ensemble = xp.take(prior, _systematic(weights, float(rng.random())), axis=0)
        if self.jitter > 0:
            factors = _covariance_factor(prior, weights)
            noise = normal(stream(rng, prior), (prior.shape[0], prior.shape[0]), prior)
            ensemble = ensemble + self.jitter * xp.matmul(noise, factors)
        return Analysis(ensemble, memory, {"effective_sample_size": 1 / xp.sum(weights * weights)})


def _weights(log_likelihood: Array) -> Array:
    """Normalised weights, by log-sum-exp."""
    xp = namespace(log_likelihood)
    largest = xp.max(log_likelihood)
    if not bool(xp.isfinite(largest)):
        raise ValueError(
            "the likelihood of the observation is zero or undefined for the prior members: check the operator over "
            "the range of the prior, or use a larger observation error"
        )
    weights = xp.exp(log_likelihood - largest)
    return weights / xp.sum(weights)


def _systematic(weights: Array, offset: float) -> Array:
    """Indices of the chosen members: member j is chosen ``floor(J w_j)`` times or once more."""
    xp = namespace(weights)
    size = weights.shape[0]
    ticks = (xp.arange(size, dtype=weights.dtype, device=weights.device) + offset) / size
    return xp.clip(xp.searchsorted(xp.cumulative_sum(weights), ticks, side="right"), 0, size - 1)


def _covariance_factor(prior: Array, weights: Array) -> Array:
    """Rows whose outer products sum to the weighted, unbiased covariance of the ensemble."""
    xp = namespace(prior)
    anomalies = prior - xp.matmul(weights, prior)
    freedom = float(xp.sum(weights * (1 - weights)))
    return xp.sqrt(weights)[:, None] * anomalies / math.sqrt(freedom) if freedom > 0 else 0 * anomalies


@dataclass(frozen=True)
class FixedGainMAP:
    """Maximum a posteriori per member and variable, by Gauss-Newton, under a constant prior deviation.

    For linear h a nudging with the fixed gain ``deviation^2 / (deviation^2 + error^2)``. Only variables that are
    observed change.

    Parameters
    ----------
    deviation : float
        Assumed prior standard deviation, in the units of the state.
    steps : int
        Gauss-Newton steps.
    """

    deviation: float = 0.35
    steps: int = 6

    def __post_init__(self) -> None:
        if not (self.deviation > 0 and self.steps >= 1):
            raise ValueError(f"{self}: give a positive deviation and at least one step")

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If the prior does not fit, errors are not independent Gaussian, or an observation sees several
            variables.
        """
        check_prior(prior, observation)
        observation = observation.present()
        if observation.size == 0:
            return Analysis(prior, memory)
        operator, law = observation.operator, observation.law
        if not (_sees_single_variables(operator) and isinstance(law, Gaussian)):
            raise ValueError(
                "FixedGainMAP needs independent Gaussian errors and observations of single variables (Identity, "
                "Select, Pointwise of these): use a Kalman filter otherwise"
            )
        predicted = operator(prior)
        check_predicted(predicted, observation)
        xp = namespace(prior)
        value = xp.astype(observation.value, prior.dtype, copy=False)
        perturbed = value + law.noise(predicted.shape, value, stream(rng, prior))
        ensemble = prior
        for _ in range(self.steps):
            ensemble = ensemble + self._step(prior, ensemble, perturbed, observation)
        return Analysis(ensemble, memory)

    def _step(self, prior: Array, states: Array, perturbed: Array, observation: Observation) -> Array:
        """One Gauss-Newton increment; the diagonal of ``J^T R^-1 J`` comes from ones, as J has one entry a row."""
        operator, law = observation.operator, observation.law
        slopes = operator.tangent(states, namespace(states).ones_like(states))
        precision = 1 / self.deviation**2
        curvature = precision + operator.adjoint(states, law.weigh(slopes))
        pull = operator.adjoint(states, law.weigh(perturbed - operator(states)))
        return (precision * (prior - states) + pull) / curvature


def _sees_single_variables(operator: Any) -> bool:
    if isinstance(operator, Pointwise):
        return _sees_single_variables(operator.linear)
    return isinstance(operator, Identity | Select)
