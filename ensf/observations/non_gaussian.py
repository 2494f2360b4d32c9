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
from dataclasses import dataclass
from typing import Any

import numpy as np

from ensf.arrays import Array, Generator, like, log_ndtr, namespace, normal, to_numpy
from ensf.observations.error_laws import Independent

__all__ = ["Censored", "Laplace", "Poisson", "StudentT", "Threshold"]


@dataclass(frozen=True, eq=False)
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


@dataclass(frozen=True, eq=False)
class StudentT(Independent):
    """Student-t errors.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation; positive.
    freedom : int
        Degrees of freedom, 3 or more.
    """

    freedom: int = 4

    def _width2(self, predicted: Array) -> Any:
        return self._scale(predicted) ** 2 * (self.freedom - 2)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        ratio = (value - predicted) ** 2 / self._width2(predicted)
        return -0.5 * (self.freedom + 1) * namespace(predicted).log1p(ratio)

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        residual = value - predicted
        return (self.freedom + 1) * residual / (self._width2(predicted) + residual**2)

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        xp = namespace(predicted)
        noise = normal(rng, (self.freedom + 1, *predicted.shape), predicted)
        chi2 = xp.sum(noise[1:, ...] ** 2, axis=0)
        return predicted + noise[0, ...] * xp.sqrt(self._width2(predicted) / chi2)

    def check(self, value: Array) -> None:
        """Raise ValueError for a bad deviation or too few degrees of freedom."""
        super().check(value)
        if self.freedom < 3:
            raise ValueError(f"StudentT has {self.freedom} degrees of freedom: give 3 or more, or use Laplace")


@dataclass(frozen=True, eq=False)
class Poisson(Independent):
    """Counts whose mean is the predicted value, which must be positive."""

    deviation: Any = 1.0

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant; minus infinity where h <= 0."""
        xp = namespace(predicted)
        safe = xp.where(predicted > 0, predicted, xp.ones_like(predicted))
        return xp.where(predicted > 0, value * xp.log(safe) - safe, xp.full_like(predicted, -math.inf))

    def score(self, value: Array, predicted: Array) -> Array:
        """``y / h - 1``."""
        return value / predicted - 1

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


@dataclass(frozen=True, eq=False)
class Censored(Independent):
    """Gaussian errors of an instrument with a limited range: what is beyond a limit is reported as the limit.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation; positive.
    low, high : float
        Limits of the range.
    """

    low: float = -math.inf
    high: float = math.inf

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        xp, scale = namespace(predicted), self._scale(predicted)
        density = -0.5 * ((value - predicted) / scale) ** 2
        if math.isfinite(self.low):
            density = xp.where(value <= self.low, log_ndtr((self.low - predicted) / scale), density)
        if math.isfinite(self.high):
            density = xp.where(value >= self.high, log_ndtr((predicted - self.high) / scale), density)
        return density

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        xp, scale = namespace(predicted), self._scale(predicted)
        score = (value - predicted) / scale**2
        if math.isfinite(self.low):
            score = xp.where(value <= self.low, -_mills((self.low - predicted) / scale) / scale, score)
        if math.isfinite(self.high):
            score = xp.where(value >= self.high, _mills((predicted - self.high) / scale) / scale, score)
        return score

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noisy = predicted + self._scale(predicted) * normal(rng, predicted.shape, predicted)
        return namespace(predicted).clip(noisy, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Threshold(Independent):
    """Yes (1) or no (0): whether the predicted value plus a Gaussian error exceeds a level.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation of that error; positive.
    level : float
        The level.
    """

    level: float = 0.0

    def _margin(self, value: Array, predicted: Array) -> tuple[Array, Array]:
        """Sign +-1 of what was reported, and how far the prediction is on that side, in standard deviations."""
        xp = namespace(predicted)
        sign = 2 * xp.astype(value > 0.5, predicted.dtype) - 1
        return sign, sign * (predicted - self.level) / self._scale(predicted)

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
        return namespace(predicted).astype(noisy > self.level, predicted.dtype)


def _mills(x: Array) -> Array:
    """Derivative of log Phi."""
    xp = namespace(x)
    return xp.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - log_ndtr(x))
