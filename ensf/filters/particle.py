"""Particle filter: weights w_j ~ p(y | x_j); members are drawn again in proportion to them.

Exact for very many members, and useless in high dimension.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Generator, like, member_mean, namespace, normal, stream
from ensf.arrays.settings import check_settings
from ensf.filters.base import Memory, Part, Prepared, Update
from ensf.filters.weights import combine, precise
from ensf.observations.observation import Observation

__all__ = ["ParticleFilter"]


@dataclass(frozen=True)
class ParticleFilter(Prepared):
    """Bootstrap particle filter with systematic resampling, for a few variables.

    Source: Gordon, Salmond & Smith (1993), IEE Proc. F 140, 107; systematic resampling: Kitagawa (1996), J.
    Comput. Graph. Stat. 5, 1; regularisation: Musso, Oudjane & Le Gland (2001), in Sequential Monte Carlo
    Methods in Practice, section 12.2.

    Parameters
    ----------
    jitter : float
        Standard deviation of the noise added after resampling, as a fraction of the weighted ensemble's; the
        noise has the ensemble's correlations. Without it, copies stay equal under a model without noise.

    Raises
    ------
    ValueError
        If the jitter is negative or not finite.
    """

    jitter: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 <= self.jitter < math.inf:
            raise ValueError(f"jitter is {self.jitter}: give 0 or a positive fraction of the spread")

    def prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        """Chosen members and the weights of the noise; `info` has the effective sample size ``1 / sum w^2``.

        Raises
        ------
        ValueError
            If no member has a positive likelihood.
        """
        xp = namespace(predicted)
        log_likelihood = observation.law.log_density(observation.value, observation.part.function(predicted))
        weights = _weights(xp.astype(log_likelihood, predicted.dtype, copy=False))
        chosen = _systematic(weights, float(rng.random()))
        noise = None
        if self.jitter > 0:
            drawn = normal(stream(rng, predicted), (weights.shape[0], weights.shape[0]), predicted)
            noise = self.jitter * _noise_weights(precise(drawn), precise(weights))
        info = {"effective_sample_size": 1 / xp.sum(weights * weights)}
        return ResampledUpdate(memory, info, chosen=chosen, noise=noise, weights=weights)


@dataclass(frozen=True, eq=False)
class ResampledUpdate(Update):
    """Members drawn again, with noise that is a combination of anomalies.

    Attributes
    ----------
    chosen : (member,) array of int
    noise : (member, member) array or None
        Weights of the anomalies of the prior in the noise, a column for each member.
    weights : (member,) array
        w.
    """

    chosen: Array = field(kw_only=True)
    noise: Array | None = field(kw_only=True)
    weights: Array = field(kw_only=True)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.weights.shape[0]

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part."""
        ensemble = namespace(part.values).take(part.values, self.chosen, axis=0)
        if self.noise is None:
            return ensemble, {}
        return ensemble + combine(part.values - member_mean(ensemble), self.noise), {}  # columns of the noise sum to 0

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """``log(J sum w^2)`` at each position: 0 for equal weights, log J if one member has all."""
        members = self.weights.shape[0]
        taken = math.log(members * float(namespace(self.weights).sum(self.weights * self.weights)))
        return like(np.full(len(positions), max(0.0, taken)), self.weights)


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
    chosen = xp.searchsorted(xp.cumulative_sum(weights), ticks, side="right")
    return xp.where(chosen < size, chosen, size - 1)  # none is below 0, and rounding may leave the sum below a tick


def _noise_weights(noise: Array, weights: Array) -> Array:
    """Weights D with ``D^T A`` a sample of the weighted, unbiased covariance, for white noise ``(sample, member)``."""
    xp = namespace(noise)
    freedom = float(xp.sum(weights * (1 - weights)))
    if freedom <= 0:
        return xp.zeros_like(noise)
    scaled = noise * (xp.sqrt(weights) / math.sqrt(freedom))
    return (scaled - xp.sum(scaled, axis=1, keepdims=True) * weights).T
