"""Error laws that are not Gaussian: heavy tails, errors in proportion, counts, limited range, yes or no.

With r = y - h, standard deviation s, and Phi the standard normal distribution function, log p(y | h) is

    Laplace       -sqrt(2) |r| / s
    StudentT      -(n + 1) / 2 log(1 + r^2 / (c^2 n)),      c^2 = s^2 (n - 2) / n
    Contaminated  log((1 - p) N(r; s) + p N(r; k s)),       N(r; s) = exp(-r^2 / (2 s^2)) / s
    Proportional  log N(r; sigma),                          sigma^2 = s^2 + (e h)^2
    Lognormal     -log(y / h)^2 / (2 s^2)                   where h > 0
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

from ensf.arrays import Array, Generator, Numbers, is_host_stream, like, log_ndtr, namespace, normal, to_numpy
from ensf.observations.error_laws import Independent, beside

__all__ = ["Censored", "Contaminated", "Laplace", "Lognormal", "Poisson", "Proportional", "StudentT", "Threshold"]


LARGEST_MEAN = 1e18
"""Above it counts are not integers of 8 bytes."""


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

    def weight(self, value: Array, predicted: Array) -> Array:
        """Influence beside that of an observation that agrees, ``1 / (1 + r^2 / (c^2 n))``."""
        return 1 / (1 + (value - predicted) ** 2 / self._width2(predicted))

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
    host = is_host_stream(rng)
    drawn = rng.standard_gamma(to_numpy(shape) if host else beside(shape, array), array.shape)
    return like(drawn, array) if host else namespace(array).astype(drawn, array.dtype)


@dataclass(frozen=True, eq=False, repr=False)
class Contaminated(Independent):
    """Gaussian errors, some of which are gross: those have `widening` times the standard deviation.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation of the errors that are not gross; positive.
    gross_part : float or (observation,) array
        Probability that an error is gross, between 0 and 1.
    widening : float or (observation,) array
        Above 1.

    Raises
    ------
    ValueError
        If the probability or the widening is out of its range.

    Notes
    -----
    The contaminated normal distribution of Tukey (1960). Its pull on the analysis first grows with the distance, then
    falls almost to nothing: what is gross is left out.
    """

    gross_part: Array | float = 0.05
    widening: Array | float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        part, widening = to_numpy(self.gross_part), to_numpy(self.widening)
        if ((part <= 0) | (part >= 1)).any():
            raise ValueError(f"Contaminated has gross_part {np.ravel(part)[0]}: give a probability between 0 and 1")
        if (widening <= 1).any():
            raise ValueError(f"Contaminated has widening {widening.min()}: give a number above 1, or use Gaussian")

    def _parts(self, value: Array, predicted: Array) -> tuple[Array, Array]:
        """Log density of an error that is not gross, and of one that is."""
        xp = namespace(predicted)
        square = ((value - predicted) / self._scale(predicted)) ** 2
        part, widening = beside(self.gross_part, predicted), beside(self.widening, predicted)
        zero = xp.zeros_like(square)
        good = xp.log1p(zero - part) - 0.5 * square
        return good, xp.log((zero + part) / widening) - 0.5 * square / (widening * widening)

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        return namespace(predicted).logaddexp(*self._parts(value, predicted))

    def weight(self, value: Array, predicted: Array) -> Array:
        """Probability that the error is not gross."""
        good, gross = self._parts(value, predicted)
        return namespace(predicted).exp(good - namespace(predicted).logaddexp(good, gross))

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        weight = self.weight(value, predicted)
        widening = beside(self.widening, predicted)
        return (weight + (1 - weight) / (widening * widening)) * (value - predicted) / self._scale(predicted) ** 2

    def standard_deviation(self, value: Array) -> Array:
        """Of all errors, gross ones included."""
        xp = namespace(value)
        part = beside(self.gross_part, value)
        widening = beside(self.widening, value)
        return super().standard_deviation(value) * xp.sqrt(xp.zeros_like(value) + 1 + part * (widening * widening - 1))

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        xp = namespace(predicted)
        gross = log_ndtr(normal(rng, predicted.shape, predicted)) < xp.log(
            xp.zeros_like(predicted) + beside(self.gross_part, predicted)
        )
        scale = xp.where(gross, xp.ones_like(predicted) * beside(self.widening, predicted), xp.ones_like(predicted))
        return predicted + self._scale(predicted) * scale * normal(rng, predicted.shape, predicted)


@dataclass(frozen=True, eq=False, repr=False)
class Proportional(Independent):
    """Gaussian errors that grow with what is observed: standard deviation sqrt(deviation^2 + (fraction h)^2).

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation where the predicted value is 0, in the units of the observation; positive.
    fraction : float or (observation,) array
        Standard deviation of the part that is proportional to the predicted value, over it; positive.

    Raises
    ------
    ValueError
        If the fraction is not positive.
    """

    fraction: Array | float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (to_numpy(self.fraction) > 0).all():
            raise ValueError(f"Proportional has fraction {to_numpy(self.fraction).min()}: give a positive number")

    def _variance(self, predicted: Array) -> Array:
        return self._scale(predicted) ** 2 + (beside(self.fraction, predicted) * predicted) ** 2

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant."""
        variance = self._variance(predicted)
        return -0.5 * ((value - predicted) ** 2 / variance + namespace(predicted).log(variance))

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``: of the misfit, and of the standard deviation."""
        variance, residual = self._variance(predicted), value - predicted
        growth = beside(self.fraction, predicted) ** 2 * predicted / variance
        return residual / variance + growth * (residual * residual / variance - 1)

    def standard_deviation(self, value: Array) -> Array:
        """As if the value were what is predicted."""
        return namespace(value).sqrt(self._variance(value))

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noise = normal(rng, predicted.shape, predicted)
        return predicted + namespace(predicted).sqrt(self._variance(predicted)) * noise


@dataclass(frozen=True, eq=False, repr=False)
class Lognormal(Independent):
    """The predicted value times a lognormal factor: log y is Gaussian about log h.

    Parameters
    ----------
    deviation : float or (observation,) array
        Standard deviation of log y, a fraction: 0.1 is about 10 percent; positive.
    """

    def check(self, value: Array) -> None:
        """Raise ValueError for a bad deviation, or values that are not positive."""
        super().check(value)
        values = to_numpy(value)
        if (values <= 0).any():
            k = int(np.argmax(values <= 0))
            raise ValueError(f"observation {k} is {values[k]}: Lognormal takes positive values, Proportional all")

    def _misfit(self, value: Array, predicted: Array) -> tuple[Array, Array, Array]:
        """log(y / h) over s, where h is positive, and h there."""
        xp = namespace(predicted)
        positive = predicted > 0
        safe = xp.where(positive, predicted, xp.ones_like(predicted))
        return (xp.log(value) - xp.log(safe)) / self._scale(predicted), positive, safe

    def each(self, value: Array, predicted: Array) -> Array:
        """``log p(y | h)`` of every observation up to a constant; minus infinity where h <= 0."""
        misfit, positive, _ = self._misfit(value, predicted)
        return namespace(predicted).where(
            positive, -0.5 * misfit * misfit, namespace(predicted).full_like(predicted, -math.inf)
        )

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``; 0 where h <= 0, where there is no density."""
        misfit, positive, safe = self._misfit(value, predicted)
        score = misfit / (self._scale(predicted) * safe)
        return namespace(predicted).where(positive, score, namespace(predicted).zeros_like(score))

    def standard_deviation(self, value: Array) -> Array:
        """As if the value were the median of what it could have been."""
        variance = (namespace(value).zeros_like(value) + self._scale(value)) ** 2
        xp = namespace(value)
        return value * xp.sqrt(xp.expm1(variance) * xp.exp(variance))

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values.

        Raises
        ------
        ValueError
            If a prediction is not positive, or no finite number.
        """
        _with_density(self, predicted, math.inf)
        return predicted * namespace(predicted).exp(self._scale(predicted) * normal(rng, predicted.shape, predicted))


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
        """Counts; drawn on the host.

        Raises
        ------
        ValueError
            If a prediction is not positive, no number, or too large for counts.
        """
        host = _with_density(self, predicted, LARGEST_MEAN)
        return like(rng.poisson(host).astype(np.float64), predicted)

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
        xp = namespace(predicted)
        scale = self._scale(predicted)
        density = -0.5 * ((value - predicted) / scale) ** 2
        for reported, beyond, _ in self._limits(value, predicted):
            density = xp.where(reported, log_ndtr(xp.where(reported, beyond / scale, xp.zeros_like(beyond))), density)
        return density

    def score(self, value: Array, predicted: Array) -> Array:
        """``d log p(y | h) / d h``."""
        xp = namespace(predicted)
        scale = self._scale(predicted)
        score = (value - predicted) / scale**2
        for reported, beyond, sign in self._limits(value, predicted):
            pull = _mills(xp.where(reported, beyond / scale, xp.zeros_like(beyond))) / scale
            score = xp.where(reported, sign * pull, score)
        return score

    def draw(self, predicted: Array, rng: Generator) -> Array:
        """Observations of the predicted values."""
        noisy = predicted + self._scale(predicted) * normal(rng, predicted.shape, predicted)
        xp = namespace(predicted)
        low = beside(self.low, predicted)
        high = beside(self.high, predicted)
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


def _with_density(law: Independent, predicted: Array, largest: float) -> np.ndarray:
    """Predictions on the host; ValueError for one that is not positive, or too large: draws would have no density."""
    host = to_numpy(predicted)
    bad = ~((host > 0) & (host < largest))
    if bad.any():
        raise ValueError(
            f"{type(law).__name__} cannot draw an observation of the predicted value {host[bad][0]:g}: let the "
            f"operator give a number above 0 and below {largest:g}"
        )
    return host


def _mills(x: Array) -> Array:
    """Derivative of log Phi."""
    xp = namespace(x)
    return xp.exp(-0.5 * x * x - 0.5 * math.log(2 * math.pi) - log_ndtr(x))
