"""Adaptive inflation from innovations: per place, smoothed in time, fast where the innovations say so.

The prior variance is multiplied by

    lambda^2 = 1 + sampling DFS / (J - 1) + r,        r <- exp(-1 / persistence) r + noise,

what J members lack for the degrees of freedom that a place took in the cycle before (sampling error; nothing is tuned
where observations say little about the spread), and a departure r that is learnt. With tapers rho_k around a place,
innovations d_k = (y_k - mean of h(x_j)) / error_k and ensemble variances v_k of h(x_j) / error_k,

    ratio = sum rho (d^2 - 1) / sum rho v

estimates lambda^2 (Desroziers et al. 2005; Li, Kalnay & Miyoshi 2009; Miyoshi 2011), with variance
2 sum rho^2 (lambda^2 v + 1)^2 / (sum rho v)^2; a scalar Kalman filter at each place follows it.

If the innovations are as expected, sum rho d^2 / sum rho (lambda^2 v + 1) is a chi^2 variate with n degrees of freedom
over n, where n = (sum rho q)^2 / sum rho^2 q^2 and q = lambda^2 v + 1. Above its quantile (Wilson & Hilferty 1931), as
after a model shock or at a cold start, what lambda^2 lacks of the ratio is added at once, in that cycle only: part of
it as independent noise. In the cycles that follow a surprise, r is learnt faster.

All of this lives at *knots*, places that cover the observations of all cycles so far; a place takes the tapered mean of
the knots near it, and nothing is widened where no observation reaches.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np

from ensf.arrays import Array, Generator, Record, like, namespace
from ensf.filters.base import Analysis, Memory, Part, Update, as_part, innovations, with_values
from ensf.filters.local import check_local
from ensf.localization import Localization, Patches
from ensf.localization.localization import check_localization
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate, Wrapper, check_ranges
from ensf.wrappers.knots import Widening, column_entries, covering, near_sums

__all__ = ["AdaptiveInflation", "InflationMemory"]


@dataclass(frozen=True, eq=False)
class InflationMemory(Record):
    """What the next cycle needs.

    Attributes
    ----------
    knots : (knot, dimension) array
        Places.
    departure, variance : (knot,) array
        r and its variance.
    freedom : (knot,) array
        Degrees of freedom that the observations took there.
    inner : object
        The filter's own memory.
    """

    knots: np.ndarray
    departure: Array
    variance: Array
    freedom: Array
    inner: Memory = None

    def with_update(self, update: Update | None, inner: Memory) -> InflationMemory:
        """With the degrees of freedom that an update takes, and the memory of the filter."""
        xp = namespace(self.departure)
        freedom = 0 * self.departure
        if update is not None:
            freedom = xp.astype(update.degrees_of_freedom(self.knots), freedom.dtype, copy=False)
        return replace(self, freedom=freedom, inner=inner)


@dataclass(frozen=True)
class AdaptiveInflation(Wrapper):
    """Wrapper: the prior is inflated by a factor estimated from innovations at every place.

    All factors are of the standard deviation, and act on the forecast.

    Parameters
    ----------
    filter : Filter
    localization : Localization
        Which innovations a place learns from.
    sampling : float
        Inflation of the variance for each degree of freedom over J - 1.
    deviation : float
        Standard deviation of the learnt factor, before innovations are seen.
    persistence : float
        Number of cycles over which it is thought to persist.
    surprise_limit : float
        Standard deviations beyond which the innovations of the cycle act at once; infinity = never.
    deviation_after_surprise : float
        The same standard deviation in the cycle after a surprise, at least.
    independent_part : float
        Part of a surprise that enters as independent noise of the same variance rather than as larger anomalies:
        what surprised may lie outside the span of the ensemble.
    max_inflation : float
        Bound on the factor, and on the standard deviation of a surprise in units of the prior's.

    Raises
    ------
    ValueError
        If a number is out of its range.
    """

    localization: Localization
    sampling: float = 0.6
    deviation: float = 0.2
    persistence: float = 10.0
    surprise_limit: float = 3.5
    deviation_after_surprise: float = 0.7
    independent_part: float = 0.5
    max_inflation: float = 10.0
    remembers: ClassVar[type | None] = InflationMemory

    def __post_init__(self) -> None:
        super().__post_init__()
        check_localization(self.localization, "AdaptiveInflation")
        rules = {
            "sampling": (self.sampling >= 0, "0 or more"),
            "deviation": (self.deviation > 0, "a positive number"),
            "persistence": (self.persistence > 0, "a positive number of cycles"),
            "surprise_limit": (self.surprise_limit > 0, "a positive number, or infinity for never"),
            "deviation_after_surprise": (self.deviation_after_surprise >= 0, "0 or more"),
            "independent_part": (0 <= self.independent_part <= 1, "0 to 1"),
            "max_inflation": (self.max_inflation >= 1, "1 or more"),
        }
        check_ranges(self, "adaptive inflation", rules)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        remembered, widening = self._learnt(predicted, observation, rng, memory)
        entries = column_entries(observation, predicted.shape[1])
        columns = Part(predicted, observation.column_position, entries)
        update = self._inner(widening.inflated(columns), observation, rng, remembered.inner)
        remembered = remembered.with_update(update, update.memory)
        return _AdaptivelyInflated(remembered, update.info, update=update, widening=widening)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        remembered, widening = self._learnt(observation.predict(prior), observation, rng, memory)
        part = as_part(prior, positions)
        analysis = self.filter.analyse(widening.inflated(part), observation, rng, remembered.inner, positions)
        info = {**analysis.info, "inflation": widening.factor(part)}
        return replace(
            analysis,
            memory=remembered.with_update(analysis.update, analysis.memory),
            info=info,
            before=lambda part: analysis.before(with_values(part, widening.inflated(part))),
        )

    def _without_observations(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        memory = memory or _no_knots(positions.shape[1], prior)
        inner = super()._without_observations(prior, observation, rng, memory.inner, positions).memory
        return Analysis(prior, replace(memory, inner=inner))

    def _learnt(
        self, predicted: Array, observation: Observation, rng: Generator, memory: InflationMemory | None
    ) -> tuple[InflationMemory, Widening]:
        """What is remembered after these innovations, and what they say of the prior."""
        observation = observation.decorrelated()
        position = check_local(observation, self.localization, "AdaptiveInflation")
        assert position is not None
        memory = self._recalled(memory, position, predicted)
        patches = self.localization.patches(memory.knots, position)
        base = 1 + self.sampling / (predicted.shape[0] - 1) * memory.freedom
        evidence = _evidence(predicted, observation, patches, self._bounded(base + memory.departure))
        surprised = evidence.surprised(self.surprise_limit)
        departure, variance = evidence.follow(base, memory.departure, memory.variance)
        followed = self._bounded(base + departure)
        xp = namespace(predicted)
        variance = xp.where(surprised, xp.clip(variance, (2 * self.deviation_after_surprise) ** 2, None), variance)
        excess = xp.clip(evidence.ratio - followed, 0.0, self.max_inflation**2)
        excess = xp.where(surprised, excess, xp.zeros_like(excess))
        key = int(rng.integers(2**63)) if self.independent_part > 0 and bool(xp.any(excess > 0)) else None
        widening = Widening(self.localization, position, memory.knots, followed, excess, self.independent_part, key)
        return replace(memory, departure=departure, variance=variance), widening

    def _recalled(self, memory: InflationMemory | None, position: np.ndarray, predicted: Array) -> InflationMemory:
        """Departure and variance as expected before the innovations are seen, at knots that cover the observations."""
        xp = namespace(predicted)
        memory = memory or _no_knots(position.shape[1], predicted)
        knots = covering(memory.knots, position, self.localization)
        kept = math.exp(-1 / self.persistence)
        initial = (2 * self.deviation) ** 2
        new = like(np.zeros(len(knots) - len(memory.knots)), predicted)
        return InflationMemory(
            knots,
            xp.concat([kept * memory.departure, new]),
            xp.concat([kept**2 * memory.variance + (1 - kept**2) * initial, new + initial]),
            xp.concat([memory.freedom, new]),
            memory.inner,
        )

    def _bounded(self, inflation: Array) -> Array:
        return namespace(inflation).clip(inflation, 1.0, self.max_inflation**2)


@dataclass(frozen=True, eq=False)
class _AdaptivelyInflated(WrappedUpdate):
    widening: Widening = field(kw_only=True)

    def before(self, part: Part) -> Array:
        return self.update.before(with_values(part, self.widening.inflated(part)))

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        ensemble, fields = self.update.analysed(with_values(part, self.widening.inflated(part)))
        if part.positions is None or not part.inflate:
            return ensemble, fields
        return ensemble, fields | {"inflation": self.widening.factor(part)}

    def uncorrected(self, part: Part) -> Array:
        return self.update.uncorrected(with_values(part, self.widening.inflated(part)))


def _no_knots(dimensions: int, array: Array) -> InflationMemory:
    """What is remembered before the first observation, beside an array."""
    zeros = like(np.zeros(0), array)
    return InflationMemory(np.zeros((0, dimensions)), zeros, zeros, zeros)


# --- what the innovations say ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Evidence(Record):
    """Of each knot: ratio and its variance, chi^2 over n, and n."""

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
        variance = 2 / (9 * self.freedom)
        return self.chi2 ** (1 / 3) > 1 - variance + deviations * namespace(variance).sqrt(variance)


def _evidence(predicted: Array, observation: Observation, patches: Patches, followed: Array) -> _Evidence:
    """What innovations say if the prior variance is `followed` times too small; nothing where nothing is observed."""
    xp = namespace(predicted)
    square, v = innovations(predicted, observation)
    one = xp.ones_like(v)
    square, count, total_spread = near_sums(patches, xp.stack([square, one, v]), 1)
    fourth = near_sums(patches, xp.stack([one, 2 * v, v * v]), 2)
    none = total_spread <= xp.finfo(v.dtype).eps * count
    one = xp.ones_like(total_spread)
    total = xp.where(none, one, followed * total_spread + count)
    moment = xp.where(none, one, fourth[0] + followed * (fourth[1] + followed * fourth[2]))
    informed = xp.where(none, one, total_spread)
    return _Evidence(
        ratio=xp.where(none, followed, (square - count) / informed),
        noise=xp.where(none, 1e12 * one, 2 * moment / (informed * informed)),
        chi2=xp.where(none, one, square / total),
        freedom=total * total / moment,
    )
