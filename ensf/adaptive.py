"""Adaptive inflation from innovations: per place, smoothed in time, fast where the innovations say so.

With tapers rho_k around a place, innovations d_k = y_k - mean of h(x_j) and ensemble variances v_k of h(x_j),

    ratio = sum rho (d^2 - error^2) / sum rho v

estimates lambda^2, the factor by which the prior variance is too small (Desroziers et al. 2005; Li, Kalnay & Miyoshi
2009), with variance V = 2 sum rho^2 (lambda^2 v + error^2)^2 / (sum rho v)^2. A scalar Kalman filter at each place
follows it as a random walk. What the ratio exceeds the followed value by, beyond `surprise` standard deviations, as
after a model shock or at a cold start, acts at once, in that cycle only: half of it (`share`) as independent noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ensf.analysis import Analysis, Filter, check_predicted, check_prior
from ensf.arrays import Array, Generator, is_host, like, namespace, normal, stream
from ensf.kalman import observed_positions
from ensf.localization import Localization, Patches
from ensf.observation import Observation

__all__ = ["AdaptiveInflation", "InflationMemory"]


@dataclass(frozen=True, eq=False)
class InflationMemory:
    """What the next cycle needs: estimate of lambda^2 and its variance at each place, and the filter's own memory."""

    estimate: Array
    variance: Array
    inner: Any = None


@dataclass(frozen=True)
class AdaptiveInflation:
    """Wrapper: the prior is inflated by sqrt(lambda^2), estimated from innovations at every place.

    Parameters
    ----------
    filter : Filter
    localization : Localization
        Which innovations a place learns from.
    start : float
        First estimate of lambda^2.
    walk : float
        Standard deviation by which lambda^2 is thought to change from one cycle to the next.
    surprise : float
        Standard deviations beyond which the ratio of the cycle acts at once; infinity = never.
    share : float
        Part of a surprise that enters as independent noise of the same variance rather than as larger anomalies:
        what surprised may lie outside the span of the ensemble.
    most : float
        Bound on lambda^2 and on the variance of a surprise, in units of the prior variance.
    """

    filter: Filter
    localization: Localization
    start: float = 1.05
    walk: float = 0.01
    surprise: float = 3.0
    share: float = 0.5
    most: float = 100.0

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis of the inflated prior; `info` has the inflation of each state variable.

        Raises
        ------
        ValueError
            If the prior or the predicted observations do not fit, or the place of an observation is unknown.
        """
        check_prior(prior, observation)
        observation = observation.present(prior.dtype)
        if observation.size == 0:
            return Analysis(prior, memory)
        patches = self.localization.patches(observed_positions(observation, self.localization, prior.shape[1]))
        followed, variance, inner = self._recall(memory, prior, patches)
        ratio, noise = _estimate(prior, observation, patches, followed)
        followed, variance = _follow(ratio, noise, followed, variance)
        xp = namespace(prior)
        excess = xp.clip(ratio - followed - self.surprise * xp.sqrt(noise), 0.0, self.most)
        followed_here, excess_here = (_at_variables(part, patches) for part in (followed, excess))
        inflated = self._inflate(prior, xp.clip(followed_here, 1.0, self.most), excess_here, rng)
        analysis = self.filter.analyse(inflated, observation, rng, inner)
        info = {**analysis.info, "inflation": xp.sqrt(followed_here + excess_here)}
        return Analysis(analysis.ensemble, InflationMemory(followed, variance, analysis.memory), info)

    def _recall(self, memory: InflationMemory | None, prior: Array, patches: Patches) -> tuple[Array, Array, Any]:
        if memory is not None:
            return memory.estimate, memory.variance + self.walk**2, memory.inner
        ones = like(np.ones(len(patches.variables)), prior)
        return self.start * ones, (10 * self.walk) ** 2 * ones, None

    def _inflate(self, prior: Array, followed: Array, excess: Array, rng: Generator) -> Array:
        xp = namespace(prior)
        mean = xp.mean(prior, axis=0)
        anomalies = prior - mean
        inflated = mean + xp.sqrt(followed + (1 - self.share) * excess) * anomalies
        if self.share == 0 or not bool(xp.any(excess > 0)):
            return inflated
        noise = normal(stream(rng, prior), prior.shape, prior)
        noise = noise - xp.mean(noise, axis=0)
        return inflated + xp.sqrt(self.share * excess) * xp.std(anomalies, axis=0, correction=1) * noise


def _at_variables(values: Array, patches: Patches) -> Array:
    """Value of its place for each state variable."""
    xp = namespace(values)
    spread = xp.broadcast_to(values[:, None], patches.variables.shape)
    return xp.take(xp.reshape(spread, (-1,)), like(np.argsort(patches.variables.ravel()), values))


def _estimate(prior: Array, observation: Observation, patches: Patches, followed: Array) -> tuple[Array, Array]:
    """Ratio and its variance at each place; places without observations get ratio 0 and a huge variance."""
    xp = namespace(prior)
    predicted = observation.operator(prior)
    check_predicted(predicted, observation)
    innovation = observation.value - xp.mean(predicted, axis=0)
    spread = xp.var(predicted, axis=0, correction=1)
    error = observation.law.standard_deviation(observation.value) ** 2
    excess, seen = (_near(patches, part, 1) for part in (innovation * innovation - error, spread))
    noise = [_near(patches, part, 2) for part in (spread * spread, 2 * spread * error, error * error)]
    nothing = seen <= 0
    safe = xp.where(nothing, xp.ones_like(seen), seen)
    variance = 2 * (followed * followed * noise[0] + followed * noise[1] + noise[2]) / (safe * safe)
    return xp.where(nothing, xp.zeros_like(seen), excess / safe), xp.where(nothing, xp.full_like(seen, 1e12), variance)


def _follow(ratio: Array, noise: Array, estimate: Array, variance: Array) -> tuple[Array, Array]:
    """Scalar Kalman filter with the ratio as observation; surprises count as three standard deviations."""
    xp = namespace(ratio)
    gain = variance / (variance + noise)
    bound = 3 * xp.sqrt(variance + noise)
    estimate = estimate + gain * xp.clip(ratio - estimate, -bound, bound)
    return xp.clip(estimate, 1.0, None), (1 - gain) * variance


def _near(patches: Patches, values: Array, power: int) -> Array:
    """Sum of ``rho^power values`` over each patch."""
    xp = namespace(values)
    if is_host(values):
        near = patches.weight**power * values[patches.index]
        total = np.concatenate([[0.0], np.cumsum(near)])
        return (total[patches.indptr[1:]] - total[patches.indptr[:-1]]).astype(values.dtype)
    index, weight = patches.padded
    flat = xp.take(values, like(index.ravel(), values))
    return xp.sum(like(weight**power, values) * xp.reshape(flat, index.shape), axis=-1)
