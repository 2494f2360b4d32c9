"""Adaptive inflation from innovations: per place, smoothed in time, fast where the innovations say so.

The prior variance is multiplied by

    lambda^2 = 1 + sampling DFS / (J - 1) + r,        r <- exp(-1 / persistence) r + noise,   std(r) = deviation:

what J members lack for the degrees of freedom that a place took in the cycle before (sampling error; nothing is tuned
where observations say little about the spread), and a departure r that is learnt. With tapers rho_k around a place,
innovations d_k = (y_k - mean of h(x_j)) / error_k and ensemble variances v_k of h(x_j) / error_k,

    ratio = sum rho (d^2 - 1) / sum rho v

estimates lambda^2 (Desroziers et al. 2005; Li, Kalnay & Miyoshi 2009; Miyoshi 2011), with variance
2 sum rho^2 (lambda^2 v + 1)^2 / (sum rho v)^2; a scalar Kalman filter at each place follows it.

If the innovations are as expected, sum rho d^2 / sum rho (lambda^2 v + 1) is a chi^2 variate with n degrees of freedom
over n, where n = (sum rho q)^2 / sum rho^2 q^2 and q = lambda^2 v + 1. Above its quantile (Wilson & Hilferty 1931), as
after a model shock or at a cold start, what lambda^2 lacks of the ratio is added at once, in that cycle only: part of
it (`share`) as independent noise. In the cycles that follow a surprise, r is learnt faster.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse

from ensf.arrays import Array, Generator, is_host, like, namespace, normal, stream
from ensf.filters.base import Analysis, Filter, check_prior, innovations
from ensf.filters.kalman.filters import observed_positions
from ensf.localization import Localization, Patches
from ensf.observations.observation import Observation

__all__ = ["AdaptiveInflation", "InflationMemory"]


@dataclass(frozen=True, eq=False)
class InflationMemory:
    """What the next cycle needs: r and its variance at each place, degrees of freedom, and the filter's own memory."""

    departure: Array
    variance: Array
    freedom: Array
    inner: Any = None


@dataclass(frozen=True)
class AdaptiveInflation:
    """Wrapper: the prior is inflated by a factor estimated from innovations at every place.

    Parameters
    ----------
    filter : Filter
        If its `info` has `degrees_of_freedom`, as ETKF, LETKF and LETSF, they set the inflation for sampling error.
    localization : Localization
        Which innovations a place learns from.
    sampling : float
        Inflation of the variance for each degree of freedom over J - 1.
    deviation : float
        Standard deviation of the departure r of lambda^2, before innovations are seen.
    persistence : float
        Number of cycles over which r is thought to persist.
    surprise : float
        Standard deviations beyond which the innovations of the cycle act at once; infinity = never.
    wake : float
        Least variance of r after a surprise.
    share : float
        Part of a surprise that enters as independent noise of the same variance rather than as larger anomalies:
        what surprised may lie outside the span of the ensemble.
    most : float
        Bound on lambda^2 and on the variance of a surprise, in units of the prior variance.
    """

    filter: Filter
    localization: Localization
    sampling: float = 0.6
    deviation: float = 0.4
    persistence: float = 10.0
    surprise: float = 3.5
    wake: float = 2.0
    share: float = 0.5
    most: float = 100.0

    def __post_init__(self) -> None:
        rules = {
            "sampling": (self.sampling >= 0, "0 or more"),
            "deviation": (self.deviation > 0, "a positive number"),
            "persistence": (self.persistence > 0, "a positive number of cycles"),
            "surprise": (self.surprise > 0, "a positive number, or infinity for never"),
            "wake": (self.wake >= 0, "0 or more"),
            "share": (0 <= self.share <= 1, "0 to 1"),
            "most": (self.most >= 1, "1 or more"),
        }
        for name, (kept, rule) in rules.items():
            if not kept:
                raise ValueError(f"{name} of the adaptive inflation is {getattr(self, name)}: give {rule}")

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
        departure, variance, freedom, inner = self._recall(memory, prior, patches)
        base = 1 + self.sampling / (prior.shape[0] - 1) * _at_places(freedom, patches)
        evidence = _evidence(prior, observation, patches, self._bounded(base + departure))
        surprised = evidence.surprised(self.surprise)
        departure, variance = evidence.follow(base, departure, variance)
        followed, xp = self._bounded(base + departure), namespace(prior)
        variance = xp.where(surprised, xp.clip(variance, self.wake, None), variance)
        excess = xp.clip(evidence.ratio - followed, 0.0, self.most)
        excess = xp.where(surprised, excess, xp.zeros_like(excess))
        followed, excess = _at_variables(followed, patches), _at_variables(excess, patches)
        analysis = self.filter.analyse(self._inflate(prior, followed, excess, rng), observation, rng, inner)
        info = {**analysis.info, "inflation": xp.sqrt(followed + excess)}
        freedom = freedom * 0 + analysis.info.get("degrees_of_freedom", 0.0)
        return Analysis(analysis.ensemble, InflationMemory(departure, variance, freedom, analysis.memory), info)

    def _recall(
        self, memory: InflationMemory | None, prior: Array, patches: Patches
    ) -> tuple[Array, Array, Array, Any]:
        """Departure and variance as expected before the innovations are seen, degrees of freedom, inner memory."""
        if memory is None:
            zeros = like(np.zeros(len(patches.variables)), prior)
            return zeros, zeros + self.deviation**2, 0 * prior[0, :], None
        kept = math.exp(-1 / self.persistence)
        variance = kept**2 * memory.variance + (1 - kept**2) * self.deviation**2
        return kept * memory.departure, variance, memory.freedom, memory.inner

    def _bounded(self, inflation: Array) -> Array:
        return namespace(inflation).clip(inflation, 1.0, self.most)

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


# --- what the innovations say ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Of each place: ratio and its variance, chi^2 over n, and n."""

    ratio: Array
    noise: Array
    chi2: Array
    freedom: Array

    def follow(self, base: Array, departure: Array, variance: Array) -> tuple[Array, Array]:
        """Scalar Kalman filter with the ratio as observation; surprises count as three standard deviations."""
        xp = namespace(departure)
        gain = variance / (variance + self.noise)
        bound = 3 * xp.sqrt(variance + self.noise)
        return departure + gain * xp.clip(self.ratio - base - departure, -bound, bound), (1 - gain) * variance

    def surprised(self, deviations: float) -> Array:
        """Whether chi^2 is beyond its quantile."""
        spread = 2 / (9 * self.freedom)
        return self.chi2 ** (1 / 3) > 1 - spread + deviations * namespace(spread).sqrt(spread)


def _evidence(prior: Array, observation: Observation, patches: Patches, followed: Array) -> _Evidence:
    """What innovations say if the prior variance is `followed` times too small; nothing where nothing is observed."""
    xp = namespace(prior)
    square, v = innovations(prior, observation)
    one = xp.ones_like(v)
    square, count, spread = _near(patches, xp.stack([square, one, v]), 1)
    fourth = _near(patches, xp.stack([one, 2 * v, v * v]), 2)
    none = spread <= xp.finfo(v.dtype).eps * count
    one = xp.ones_like(spread)
    total = xp.where(none, one, followed * spread + count)
    fourth = xp.where(none, one, fourth[0] + followed * (fourth[1] + followed * fourth[2]))
    known = xp.where(none, one, spread)
    return _Evidence(
        ratio=xp.where(none, followed, (square - count) / known),
        noise=xp.where(none, 1e12 * one, 2 * fourth / (known * known)),
        chi2=xp.where(none, one, square / total),
        freedom=total * total / fourth,
    )


def _near(patches: Patches, values: Array, power: int) -> list[Array]:
    """Sums of ``rho^power values`` over each patch, of each row of values ``(row, observation)``."""
    xp = namespace(values)
    if is_host(values):
        shape = len(patches.variables), values.shape[1]
        taper = scipy.sparse.csr_array((patches.weight**power, patches.index, patches.indptr), shape=shape)
        return list((taper @ values.T).T.astype(values.dtype))
    index, weight = patches.padded
    index, weight = like(index.ravel(), values), like(weight**power, values)
    near = (xp.reshape(xp.take(values[k, :], index), weight.shape) for k in range(values.shape[0]))
    return [xp.sum(weight * part, axis=-1) for part in near]


def _at_variables(values: Array, patches: Patches) -> Array:
    """Value of its place for each state variable."""
    return namespace(values).take(values, like(patches.slots // patches.variables.shape[1], values))


def _at_places(values: Array, patches: Patches) -> Array:
    """Value of the first state variable at each place."""
    return namespace(values).take(values, like(patches.variables[:, 0].copy(), values))
