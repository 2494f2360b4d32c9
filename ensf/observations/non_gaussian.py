"""Error laws that are not Gaussian: heavy tails, counts, limited range, yes or no.

With r = y - h, standard deviation s, and Phi the standard normal distribution function, log p(y | h) is

    Laplace       -sqrt(2) |r| / s
    StudentT      -(n + 1) / 2 log(1 + r^2 / (c^2 n)),      c^2 = s^2 (n - 2) / n
    Poisson       y log h - h
    Censored      -r^2 / (2 s^2) between the limits;  log Phi((low - h) / s) at low,  log Phi((h - high) / s) at high
    Threshold     log Phi((h - level) / s) for y = 1,  log Phi((level - h) / s) for y = 0

Each is a law of independent errors for `Observation(value, operator, error=law)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ensf.arrays import Array, Generator, Numbers, like, log_ndtr, namespace, normal, to_numpy
from ensf.observations.error_laws import Independent, beside

__all__ = ["Censored", "Laplace", "Poisson", "StudentT", "Threshold"]


@dataclass(frozen=True, eq=False, repr=False)
class Laplace(Independent):
    """Two-sided exponential errors.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation; positive.
    """

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        return -math.sqrt(2) * namespace(predicted).abs(value - predicted) / self._scale(predicted)

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        return math.sqrt(2) * namespace(predicted).sign(value - predicted) / self._scale(predicted)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noise = normal(rng, (4, *predicted.shape), predicted) ** 2
        exponentials = 0.5 * (noise[0, ...] + noise[1, ...] - noise[2, ...] - noise[3, ...])
        return predicted + self._scale(predicted) / math.sqrt(2) * exponentials


@dataclass(frozen=True, eq=False, repr=False)
class StudentT(Independent):
    """Student-t errors.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation; positive.
    freedom : float or (observation,) array
        Degrees of freedom, above 2.

    Raises
    ------
    ValueError
        If there are too few degrees of freedom.
    """

    freedom: Array | float = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        few = to_numpy(self.freedom)
        if (few <= 2).any():
            raise ValueError(
                f"StudentT has {few.min()} degrees of freedom, where its variance is infinite: give more than 2, "
                "or use Laplace"
            )

    def _width2(self, predicted: Array) -> Numbers:
        return self._scale(predicted) ** 2 * (beside(self.freedom, predicted) - 2)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        ratio = (value - predicted) ** 2 / self._width2(predicted)
        return -0.5 * (beside(self.freedom, predicted) + 1) * namespace(predicted).log1p(ratio)

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        residual = value - predicted
        return (beside(self.freedom, predicted) + 1) * residual / (self._width2(predicted) + residual**2)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        xp = namespace(predicted)
        noise = normal(rng, predicted.shape, predicted)
        chi2 = 2 * _gamma(self.freedom / 2, predicted, rng)
        return predicted + noise * xp.sqrt(self._width2(predicted) / chi2)


def _gamma(shape: Array | float, array: Array, rng: Generator) -> Array:
    """Standard gamma numbers beside `array`."""
    host = isinstance(rng, np.random.Generator)
    drawn = rng.standard_gamma(to_numpy(shape) if host else beside(shape, array), array.shape)
    return like(drawn, array) if host else namespace(array).astype(drawn, array.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Poisson(Independent):
    """Counts whose mean is the predicted value, which must be positive; they have no deviation of their own."""

    deviation: float = field(default=1.0, init=False, repr=False)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant; minus infinity where h <= 0."""
        xp = namespace(predicted)
        safe = xp.where(predicted > 0, predicted, xp.ones_like(predicted))
        return xp.where(predicted > 0, value * xp.log(safe) - safe, xp.full_like(predicted, -math.inf))

    def score(self, value: Array, predicted: Array) -> Array:
        """``y / h - 1``; 0 where h <= 0, where there is no density."""
        xp = namespace(predicted)
        safe = xp.where(predicted > 0, predicted, xp.ones_like(predicted))
        return xp.where(predicted > 0, value / safe - 1, xp.zeros_like(predicted))

    def standard_deviation(self, value: Array) -> Array:
        """Square root of the count, at least 1."""
        xp = namespace(value)
        return xp.sqrt(xp.clip(value, 1.0, None))

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Counts; drawn on the host."""
        return like(rng.poisson(to_numpy(predicted)).astype(np.float64), predicted)

    def check(self, value: Array) -> None:
        """Raise ValueError for negative counts."""
        counts = to_numpy(value)
        if (counts < 0).any():
            k = int(np.argmax(counts < 0))
            raise ValueError(f"observation {k} is {counts[k]}: a count is zero or more")


@dataclass(frozen=True, eq=False, repr=False)
class Censored(Independent):
    """Gaussian errors of an instrument with a limited range: what is beyond a limit is reported as the limit.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation; positive.
    low, high : float or (observation,) array
        Limits of the range; infinite where there is none.

    Raises
    ------
    ValueError
        If a lower limit is not below the upper one.
    """

    low: Array | float = -math.inf
    high: Array | float = math.inf

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = np.broadcast_arrays(to_numpy(self.low), to_numpy(self.high))
        crossed = np.flatnonzero(low >= high)
        if crossed.size:
            k = crossed[0]
            raise ValueError(f"Censored has a range from {low.ravel()[k]} to {high.ravel()[k]}: give low below high")

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        xp, scale = namespace(predicted), self._scale(predicted)
        density = -0.5 * ((value - predicted) / scale) ** 2
        for reported, beyond, _ in self._limits(value, predicted):
            density = xp.where(reported, log_ndtr(xp.where(reported, beyond / scale, xp.zeros_like(beyond))), density)
        return density

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        xp, scale = namespace(predicted), self._scale(predicted)
        score = (value - predicted) / scale**2
        for reported, beyond, sign in self._limits(value, predicted):
            pull = _mills(xp.where(reported, beyond / scale, xp.zeros_like(beyond))) / scale
            score = xp.where(reported, sign * pull, score)
        return score

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noisy = predicted + self._scale(predicted) * normal(rng, predicted.shape, predicted)
        xp, low, high = namespace(predicted), beside(self.low, predicted), beside(self.high, predicted)
        return xp.where(noisy <= low, low, xp.where(noisy >= high, high, noisy))

    def _limits(self, value: Array, predicted: Array) -> Iterator[tuple[Array, Array, float]]:
        """Of each limit: where it is reported, how far the prediction is beyond it, and the sign of its pull."""
        if np.isfinite(to_numpy(self.low)).any():
            low = beside(self.low, predicted)
            yield value <= low, low - predicted, -1.0
        if np.isfinite(to_numpy(self.high)).any():
            high = beside(self.high, predicted)
            yield value >= high, predicted - high, 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Threshold(Independent):
    """Yes (1) or no (0): whether the predicted value plus a Gaussian error exceeds a level.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation of that error; positive.
    level : float or (observation,) array
        The level, in the units of the predicted value.
    """

    level: Array | float = 0.0

    def check(self, value: Array) -> None:
        """Raise ValueError for a bad deviation, or values that are neither 0 nor 1."""
        super().check(value)
        answers = to_numpy(value)
        other = ~np.isnan(answers) & (answers != 0) & (answers != 1)
        if other.any():
            k = int(np.argmax(other))
            raise ValueError(f"observation {k} is {answers[k]}: Threshold takes 1 (above the level) and 0 (not)")

    def _margin(self, value: Array, predicted: Array) -> tuple[Array, Array]:
        """Sign +-1 of what was reported, and how far the prediction is on that side, in standard deviations."""
        xp = namespace(predicted)
        sign = 2 * xp.astype(value > 0.5, predicted.dtype) - 1
        return sign, sign * (predicted - beside(self.level, predicted)) / self._scale(predicted)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation."""
        return log_ndtr(self._margin(value, predicted)[1])

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        sign, margin = self._margin(value, predicted)
        return sign * _mills(margin) / self._scale(predicted)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noisy = predicted + self._scale(predicted) * normal(rng, predicted.shape, predicted)
        return namespace(predicted).astype(noisy > beside(self.level, predicted), predicted.dtype)


def _mills(x: Array) -> Array:
    """Derivative of log Phi."""
    xp = namespace(x)
    return xp.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - log_ndtr(x))
